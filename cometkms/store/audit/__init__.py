"""The audit log: what a line is (lines), what follows what (walk), the files (files), and who writes them (log)."""
