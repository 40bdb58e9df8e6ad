"""What has been published: where it is, whose it is, how good it is by its authors' own measurements."""

from dataclasses import dataclass

MIRROR = "https://huggingface.co/nyanko7/nafnet-models/resolve/main"
DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
"""Google Drive, past the page that asks for a confirmation before large files."""
NAFNET = (
    "Chen, Chu, Zhang and Sun, Simple Baselines for Image Restoration, ECCV 2022 (github.com/megvii-research/NAFNet)"
)
DEBLURGAN = "Kupyn, Budzan, Mykhailych, Mishkin and Matas, DeblurGAN, CVPR 2018 (github.com/KupynOrest/DeblurGAN)"


@dataclass(frozen=True)
class Published:
    """Weights that somebody has published.

    Attributes
    ----------
    name
        Of the model that is made of them.
    file
        Its name at its authors'.
    addresses
        Where it is, the first one that answers counts; none where it has to be fetched by hand.
    sha256
        Of the file, if it is known.
    megabytes
        Of the file.
    licence
        Its name.
    authors
        And where their code is.
    score
        As its authors published it.
    blur
        Which it is for.
    """

    name: str
    file: str
    addresses: tuple[str, ...]
    sha256: str | None
    megabytes: int
    licence: str
    authors: str
    score: str
    blur: str


def _nafnet(name: str, file: str, drive: str | None, sha256: str, megabytes: int, score: str, blur: str) -> Published:
    official = (DRIVE.format(drive),) if drive else ()
    return Published(name, file, (f"{MIRROR}/{file}", *official), sha256, megabytes, "MIT", NAFNET, score, blur)


KNOWN = {
    known.name: known
    for known in (
        _nafnet(
            "nafnet-gopro-32", "NAFNet-GoPro-width32.pth", "1Fr2QadtDCEXg6iwWX8OzeZLbHOx2t5Bj",
            "19394e6155d12ef6371d1d57496f87f0ec88f92bdffa27c0792690722d5d1a5c", 69,
            "32.87 dB, SSIM .961 on GoPro", "camera and objects in motion",
        ),
        _nafnet(
            "nafnet-gopro-64", "NAFNet-GoPro-width64.pth", "1S0PVRbyTakYY9a82kujgZLbMihfNBLfC",
            "329d3ab4077b8d6b7ff61de376e483714667960bf85be027bf4335cda701196f", 272,
            "33.71 dB, SSIM .967 on GoPro", "camera and objects in motion",
        ),
        _nafnet(
            "nafnet-reds-64", "NAFNet-REDS-width64.pth", None,
            "175fe8b3cdf3abedfbc87769779c3d9f491e05bb2e73ea9d627883f90a4b2df3", 272,
            "29.09 dB on REDS-val-300", "motion in video with JPEG artefacts, as in clips of phones",
        ),
        Published(
            "deblurgan", "latest_net_G.pth", (), None, 46, "BSD-style", DEBLURGAN,
            "none of its own; users measure it below the blurred input", "camera in motion",
        ),
    )
}  # fmt: skip
"""All that is known, by name."""
