"""The page a person reads: series ranked by suspicion, and why, drawn from a ledger alone.

    choose      which slices of which series get a picture
    pictures    a slice as a small JPEG, a class-activation map or a mask as contours
    view        ledger → what the page shows, as plain records
    strip       a series' probabilities along the body as SVG
    page        records → report.html: one file, no network, no other file

What follows a run that has answered its slices:

    after       pictures of the suspicious slices, and the page
    peaks       pixels that are kept on their way, lest they be decoded again
    picture_pass has the pictures made and puts them into the ledger
    redraw      tables and page once more, from the ledger alone
"""
