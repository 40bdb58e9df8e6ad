"""The library of the pipeline: no module knows DVC, and only `params` knows params.yaml.

Rooms: `sources` (where photos come from), `cleaning` (what a photo must be), `blur` (blur that is made), `networks`,
`training`, `restoration` (a photo in, a photo out) and `evaluation`. What several rooms share lies beside them:
`layout`, `splits` and `seeds` (where images belong), `images`, `heif` and `colour` (pixels), `pictures` (what people
look at), `files`, `parallel`, `memory` and `machine` (the machine), `backend` (Keras), `pretrained` and `vgg19_weights`
(weights of others and of ours), `params` and `errors`.
"""
