"""What a process gives up before it works: user, capabilities, files, addresses, system calls.
docs/HARDENING.md has the argument."""
