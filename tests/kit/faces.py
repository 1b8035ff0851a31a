"""Real photographs for tests: scikit-image ships them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from flenwheel_core.identity.people_weights import WRITING, people_weights_here

needs_people_weights = pytest.mark.skipif(not people_weights_here(), reason="fetch them: flenwheel models people")
"""`make` fetches them with the packages."""
needs_writing_weights = pytest.mark.skipif(not people_weights_here(files=(WRITING,)), reason="flenwheel models people")


def astronaut() -> Image.Image:
    """512 x 512, one face of about 90 px."""
    from skimage import data

    return Image.fromarray(data.astronaut())


def turned_man() -> Image.Image:
    """512 x 512, one face of about 80 px, turned by 55 degrees to the right of the picture: the frontal detector misses it."""
    from skimage import data

    return Image.fromarray(data.camera()).convert("RGB")


def without_face(name: str) -> Image.Image:
    """coffee, chelsea (a cat) or rocket."""
    from skimage import data

    return Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")


def with_words(image: Image.Image, text: str, at: tuple[int, int], size: float = 30) -> Image.Image:
    """White letters with a black edge laid over it."""
    made = image.copy()
    font = ImageFont.load_default(size)
    ImageDraw.Draw(made).text(at, text, fill="white", font=font, stroke_width=2, stroke_fill="black")
    return made


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def honest_variants(image: Image.Image) -> dict[str, Image.Image]:
    """Changes after which it is still the same person."""
    return {
        "mirrored": ImageOps.mirror(image),
        "turned": image.rotate(10),
        "larger": image.resize((1024, 1024)),
        "compressed": jpeg(image, 30),
        "darker": Image.eval(image, lambda value: value // 2),
        "soft": image.filter(ImageFilter.GaussianBlur(1)),
        "cropped": image.crop((100, 20, 360, 280)),
    }


def hopper() -> Image.Image:
    """Another person: matplotlib ships it. 512 x 600, one face of about 215 px."""
    import matplotlib.cbook

    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as image:
        return image.convert("RGB")


def views(photo: Image.Image, number: int, seed: int = 0) -> list[Image.Image]:
    """The same photograph cut, turned and toned."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        left, top = (int(value) for value in random.integers(0, 80, size=2))
        view = photo.crop((left, top // 4, left + 400, top // 4 + 400)).rotate(float(random.uniform(-12, 12)))
        tone = float(random.uniform(0.7, 1.2))
        made.append(view.point(lambda value, tone=tone: min(255, int(value * tone))))
    return made


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two people in one picture, 1000 x 500."""
    both = Image.new("RGB", (1000, 500))
    both.paste(left.resize((500, 500)), (0, 0))
    both.paste(right.resize((500, 500)), (500, 0))
    return both
