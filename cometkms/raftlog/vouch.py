"""The operator's word that a lost journal of the replicated log is to be done without (rule 14)."""

from pathlib import Path

from cometkms.raftlog.journal import Journal


def vouch_for_journal(path: Path) -> None:
    """The node votes again without having read all others, one of whom is lost for good. Only liveness rests on this log.

    Raises: StoreFailure.
    """
    journal = Journal(path)
    if journal.pending:
        journal.learn(0, 0, 0)
    journal.close()
