"""What a photo must be: any files in; upright 8-bit sRGB images, or the reasons why not, out.

Read `folder` first, then `conversion` (one file), `duplicates`, `sharpness` and `filters`. `report` counts. `leaks`
and `across_splits` find images that both train and test.
"""
