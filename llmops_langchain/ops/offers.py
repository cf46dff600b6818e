"""What the routers of an app would have spared, for its insights."""

from collections.abc import Iterator, Mapping

from llmops_langchain.analytics.counterfactuals import Offer, sent_elsewhere
from llmops_langchain.routing import ModelRouter

__all__ = ["offers"]


def offers(routers: Mapping[int, ModelRouter]) -> Iterator[Offer]:
    """One for each router that has learnt enough to tell, and would spare something."""
    for router in list(routers.values()):
        expected = router.expected_savings()
        if expected is None or expected.share <= 0:
            continue
        yield Offer(
            model=expected.model,
            replay=sent_elsewhere(
                expected.model,
                expected.provider,
                share=expected.share,
                low=expected.low,
                high=expected.high,
            ),
            why=(
                f"on {expected.prompts} known prompts a router sends as many to cheaper models as "
                f"keeps {min(expected.kept, 1.0):.0%} of its quality"
            ),
        )
