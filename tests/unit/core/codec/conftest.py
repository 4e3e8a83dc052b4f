"""The codec of each core in turn: its modules need neither libsodium nor a key."""

from types import ModuleType

import pytest

from cometkms.core.native import codec as native_codec
from cometkms.core.pure import codec as pure_codec


@pytest.fixture(params=[native_codec, pure_codec], ids=["native", "pure"])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module
