"""What a node's hello says of its settings, so that the others can tell where theirs differ.

No secret is in it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cometkms.config.schema import Settings
from cometkms.limits import FACT_TEXT_MAX_BYTES
from cometkms.model import AllowedBytes

_DIGEST_DIGITS: Final = 16


def settings_facts(settings: Settings) -> dict[str, str]:
    """Return the facts by name: default_ttl_ms, strict_start, validators (their addresses and
    agents, or a digest of many), signed_bytes (what is signed besides votes), http_addr,
    leader_priority.
    """
    return {
        "default_ttl_ms": str(round(settings.default_ttl_s * 1000)),
        "strict_start": "on" if settings.strict_start else "off",
        "validators": validators_fact(
            {one.id: [str(address) for address in one.validator_addrs] for one in settings.chains},
            {one.id: [agent.text for agent in one.agents] for one in settings.chains},
        ),
        "signed_bytes": bytes_fact({one.id: one.allowed_bytes for one in settings.chains}),
        "http_addr": str(settings.http_addr),
        "leader_priority": settings.leader_priority,
    }


def sealed_for_fact(following: Sequence[str]) -> str:
    """Tell for whom a node is sealed; "" for nobody. Two texts are alike where the lists are."""
    names = sorted(following)
    return _short(", ".join(names), names, f"{len(names)} members")


def validators_fact(addresses: Mapping[str, Iterable[str]], agents: Mapping[str, Iterable[str]]) -> str:
    """Digest each chain's addresses and agents, in whatever order they are configured."""
    listed = {chain: [f"agent:{text}" for text in texts] for chain, texts in agents.items()}
    chains = sorted((chain, sorted([*texts, *listed.get(chain, [])])) for chain, texts in addresses.items())
    words = "; ".join(f"{chain}: {' '.join(texts)}" for chain, texts in chains)
    return _short(words, chains, f"{sum(len(texts) for _, texts in chains)} addresses")


def bytes_fact(allowed: Mapping[str, AllowedBytes]) -> str:
    """Tell of each chain that signs something besides votes what that is."""
    chains = sorted(
        (chain, ["SignBytes"] * one.values + sorted(one.unique_ids))
        for chain, one in allowed.items()
        if one.values or one.unique_ids
    )
    words = "; ".join(f"{chain}: {' '.join(texts)}" for chain, texts in chains)
    return _short(words or "nothing", chains, f"of {len(chains)} chains")


def _short(words: str, whole: object, otherwise: str) -> str:
    """The words, or where they are too long or no plain text a digest of `whole`."""
    if len(words.encode()) <= FACT_TEXT_MAX_BYTES and words.isascii() and words.isprintable():
        return words
    return f"{otherwise}, digest {hashlib.sha256(repr(whole).encode()).hexdigest()[:_DIGEST_DIGITS]}"
