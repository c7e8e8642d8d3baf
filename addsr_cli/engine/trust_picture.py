"""Write the picture of what a result invented, beside the result."""

from addsr_cli import imageio
from addsr_cli.engine.job import Job
from addsr_cli.engine.result import Result
from addsr_cli.imageio import WriteOptions

_LEGEND = (
    "orange: invented detail, texture in doubt; blue: drift from the photo; "
    "full colour from 32 of 255 levels"
)


def write_trust_map(job: Job, result: Result) -> None:
    """Write the map of a result that has one, with its legend. Raises OutputRefused."""
    if job.trust_map is None or result.trust is None:
        return
    options = WriteOptions(format="PNG", overwrite=job.options.overwrite)
    invented = f"{100 * result.trust.invented:.1f} %"
    comment = f"Trust map of {invented} invented detail. {_LEGEND}."
    data = imageio.encode(result.trust.photo(), options, {"Comment": comment})
    imageio.write_bytes(
        job.trust_map,
        data,
        overwrite=job.options.overwrite,
        access=result.photo.access,
    )
