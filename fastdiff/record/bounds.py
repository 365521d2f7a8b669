"""Types with bounds: what a number or a name in a file may be. The JSON schema in the docs is made of them."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

LONGEST_S = 1e8
"""Three years: a time beyond it is a mistake, and its square would not be."""
LARGEST = 10**18
"""A call of the largest models counts some 1e17 operations."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"
NAME = re.compile(_NAME)
"""Names become names of files and folders: no separator and no leading dot, so that no path climbs out of a folder;
100 characters, so that two of them and an ending fit into the 255 that file systems allow."""

Name = Annotated[str, Meta(pattern=rf"^(?![\s\S]*\n){_NAME}$", description="a name of letters, digits and . _ + -")]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_S)]
Duration = Annotated[float, Meta(gt=0, le=LONGEST_S, description="seconds in which work was done")]
"""A baseline of 0.0 would never fail a comparison."""
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Deviation = Annotated[float, Meta(ge=0, le=5, description="standard deviation of natural logarithms")]
"""Two processes differ by a factor of 150 at 5; noise of 50 would let everything pass."""
Share = Annotated[float, Meta(ge=0, le=1)]
Finite = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Fact = Whole | Finite | str | bool | list[str] | None
"""A value of a fingerprint or of a request."""
