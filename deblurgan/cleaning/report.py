"""Counts of kept, rejected and doubtful images."""

from collections import Counter
from typing import Any

from deblurgan.cleaning.folder import KeptImage, Label, RejectedImage
from deblurgan.layout import scene_of


def across_scenes(labels: list[Label]) -> list[Label]:
    """Labels of images that look like an image of another scene."""
    return [n for n in labels if n.near_duplicate_of and scene_of(n.path) != scene_of(n.near_duplicate_of)]


def counts(kept: list[KeptImage], refused: list[RejectedImage], labels: list[Label]) -> dict[str, Any]:
    """Count everything, for metrics/clean.json."""
    return {
        "found": len(kept) + len(refused),
        "kept": len(kept),
        "rejected": len(refused),
        "kept_by_dataset": dict(sorted(Counter(label.dataset for label in labels).items())),
        "rejected_by_reason": dict(sorted(Counter(row.reason for row in refused).items())),
        "doubtful": dict(sorted(Counter(label.doubt for label in labels if label.doubt).items())),
        "near_duplicates_kept": sum(label.near_duplicate_of != "" for label in labels),
        "near_duplicates_across_scenes": len(across_scenes(labels)),
    }
