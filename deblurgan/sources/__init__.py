"""Where photos and pairs come from: addresses, folders and archives in; files in the pipeline's layout out.

Photos: `unsplash_api`, `unsplash_lite` and `own_photos` find them, `photo_downloads` brings them, `bundled` needs no
network. Pairs: `ingest` first, then `layouts` (how data sets are arranged), `gopro`, `folders_and_zips` and `kaggle`.
Below both: `web` (downloads with patience) and `rate_limit`.
"""
