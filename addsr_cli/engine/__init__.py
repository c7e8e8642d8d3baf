"""One photo through one model: what the library's ``Upscaler`` does.

The walk of a photo from ``addsr upscale photo.jpg`` to the file. It goes one way; every function
hands its result to the next. First the decisions, from the file's header alone:

    ``cli.jobs``, ``Job``             output path, format, size (engine/job.py)
    ``planner.plan``                  -> Plan: precision, tiles, regions, memory

Then the pixels, through these functions and the networks:

    1.  ``cli.upscale.upscale``       one job after the other
    2.  ``imageio.read``              -> Photo: upright pixels at their own depth, and metadata
    3.  ``Upscaler.upscale``          the passes, each at most 4 times larger (engine/upscaler.py)
    4.  ``pass_runner.run_passes``    one after the other; again with the next plan if memory or
                                      numbers fail
    5.  ``restoration.restore``       the stages of a pass, for one batch
    6.  ``ResidentModel.load``        -> Restorer, the network (engine/resident_model.py)
    7.  ``Sampling.by_regions``       one region after the other: canvas, a few steps of denoising
                                      and PSR, on ``Tiled`` where it is cut. Networks that see the
                                      whole run over whole latents instead (``Sampling.by_rows``)
    8.  ``Canvas.window``             -> the part of the canvas that a region needs
    9.  ``Finisher.add``              its colours, and integers into the memory of the output
    10. ``ResultInProgress.finish``   -> Photo with the alpha and metadata of the input, its drift
                                      from the photo bounded where that was asked for
    11. ``imageio.encode``            -> bytes of the file
    12. ``imageio.write_bytes``       the file, atomically
"""
