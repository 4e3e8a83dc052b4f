"""Moving in and out: the files of other signers, and what they say this key has signed."""
