"""One photo through one model: what the library's ``Upscaler`` does.

The walk of a photo from ``addsr upscale photo.jpg`` to the file, networks left out. It goes one
way, and every function hands its result to the next:

    1.  ``cli.upscale.upscale``       options, paths
    2.  ``cli.jobs.gather``           -> Job: input, output path, format, size (engine/job.py)
    3.  ``imageio.read``              -> Photo: upright RGB; alpha, ICC and EXIF set aside
    4.  ``Upscaler.upscale``          the passes, each at most 4 times larger (engine/upscaler.py)
    5.  ``planner.plan``              -> Plan: precision, tile size, where pictures are kept
    6.  ``ResidentModel.load``        -> Restorer, the network (engine/resident_model.py)
    7.  ``restoration.restore``       one pass of one batch
    8.  ``canvas.make_canvas``        -> canvas (addsr_cli/canvas.py)
    9.  ``sampler.sample``            a few steps of denoising and PSR; ``Tiled`` cuts where needed
    10. ``color.match``               the colours of the canvas
    11. ``imageio.encode``            Photo -> bytes of a file
    12. ``imageio.write_bytes``       the file, atomically

The planner alone decides; a plan that fails (memory, overflowing numbers) is replaced by the next
one in ``Upscaler._run_pass``.
"""
