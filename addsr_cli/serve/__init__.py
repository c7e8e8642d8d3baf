"""The local page of ``addsr serve``: photos in, larger photos out, without a terminal.

One process, one queue. What happens to a photo, from the browser and back:

    1.  ``access.Gate``             is this request from our own page? (host, origin, token, cookie)
    2.  ``uploads.receive``         the body becomes a file in a private folder, within the limits
    3.  ``page_session``            the photos of one browser, and what its open pages have to hear
    4.  ``pictures``                thumbnails and copies that a browser can show
    5.  ``job_queue.JobQueue``      one thread, one job at a time, each can be cancelled
    6.  ``upscaling.Models``        the `Upscaler` of the command line, weights in memory once
    7.  ``saving``                  the name and place of the result
    8.  ``archive.zip_chunks``      all results in one download

``routes`` and ``photo_routes`` are the HTTP interface, ``html`` is the page, ``server`` starts and
ends it all. Nothing that a browser sends is used as a path.
"""
