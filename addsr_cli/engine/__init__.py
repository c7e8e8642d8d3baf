"""One photo through one model: what the library's ``Upscaler`` does.

The walk of a photo from ``addsr upscale photo.jpg`` to the file. It goes one way; every function
hands its result to the next. First the decisions, from the file's header alone:

    ``cli.jobs``, ``Job``             output path, format, size (engine/job.py)
    ``planner.plan``                  -> Plan: precision, tile size, where pictures are kept

Then the pixels, through these functions and the networks:

    1.  ``cli.upscale.upscale``       one job after the other
    2.  ``imageio.read``              -> Photo: upright RGB; alpha, ICC and EXIF set aside
    3.  ``Upscaler.upscale``          the passes, each at most 4 times larger (engine/upscaler.py)
    4.  ``Upscaler._run_pass``        one pass; again with the next plan if memory or numbers fail
    5.  ``restoration.restore``       the stages of a pass, for one batch
    6.  ``ResidentModel.load``        -> Restorer, the network (engine/resident_model.py)
    7.  ``canvas.make_canvas``        -> canvas, the enlarged photo (addsr_cli/canvas.py)
    8.  ``sampler.sample``            a few steps of denoising and PSR, on ``Tiled`` where it is cut
    9.  ``color.match``               the colours of the canvas
    10. ``result.with_pixels``        -> Photo with the alpha and metadata of the input
    11. ``imageio.encode``            -> bytes of the file
    12. ``imageio.write_bytes``       the file, atomically
"""
