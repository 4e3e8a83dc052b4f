"""`cmkms drill`: what a cluster does when its leader goes, on purpose and measured."""
