"""One node among its members, sans-I/O: who it is, when it may promise, who leads, what is signed."""
