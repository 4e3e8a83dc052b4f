"""What an operator uses beside a running node: doctor, drill, moving from other signers, demo,
stand-in validator."""
