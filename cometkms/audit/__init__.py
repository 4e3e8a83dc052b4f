"""The audit log: what a line is (lines), what follows what (walk), the files (files), who writes
them (log), and in which process."""
