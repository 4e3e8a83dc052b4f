"""`cmkms demo`"""

import click


@click.command("demo")
@click.option(
    "--seconds", type=click.FloatRange(0), default=0, metavar="N", help="Stop after N seconds.  [default: Ctrl-C]"
)
def command(seconds: float) -> int:
    """One node on throw-away keys signs for a built-in validator that verifies every signature. Leaves nothing behind.

    \b
    Example:
      cmkms demo --seconds 20
    """
    from cometkms import demo

    return demo.run(seconds or None)
