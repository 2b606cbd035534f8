"""What clients ask for, in PS3.18's words and in wrong ones."""

from typing import Any

import pytest

from gateway.rendering.parameters import (
    rendered_view,
    thumbnail_view,
    wado_uri_frame,
    wado_uri_view,
)
from gateway.rendering.refusals import WrongParameter
from gateway.rendering.view import LINEAR_EXACT, SIGMOID, Region, View, Window


@pytest.mark.parametrize(
    ("query", "view"),
    [
        ({}, View()),
        ({"window": "40,400,linear"}, View(window=Window(40, 400))),
        ({"window": "40,400"}, View(window=Window(40, 400))),
        ({"window": "-600, 1.5e3, LINEAR-EXACT"}, View(window=Window(-600, 1500, LINEAR_EXACT))),
        ({"window": "0.5,0.25,sigmoid"}, View(window=Window(0.5, 0.25, SIGMOID))),
        ({"viewport": "512,256"}, View(viewport=(512, 256))),
        (
            {"viewport": "512,256,10,20,30,40"},
            View(viewport=(512, 256), region=Region(10, 20, 30, 40)),
        ),
        (
            {"viewport": "512,256,,,-30,-40.5"},
            View(
                viewport=(512, 256),
                region=Region(0, 0, 30, 40.5),
                mirrored=True,
                upended=True,
            ),
        ),
        ({"viewport": "9,9,5,,,"}, View(viewport=(9, 9), region=Region(5, 0))),
        ({"quality": "1"}, View(quality=1)),
        ({"annotation": "technique,patient"}, View(annotations=("patient", "technique"))),
        ({"iccprofile": "srgb"}, View(icc="srgb")),
        ({"requestId": "7", "unknown": "x"}, View()),
    ],
)
def test_parameters_of_rendered_are_read(query: dict[str, str], view: View) -> None:
    assert rendered_view(query) == view


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ({"window": "40"}, "center,width,function"),
        ({"window": "40,400,cubic"}, "linear, linear-exact, sigmoid"),
        ({"window": "40,x,linear"}, "center,width,function"),
        ({"window": "nan,1,linear"}, "center,width,function"),
        ({"window": "40,inf,linear"}, "center,width,function"),
        ({"window": "40,0.5,linear"}, "1 or more"),
        ({"window": "40,0,sigmoid"}, "more than 0"),
        ({"window": "40,-1,linear-exact"}, "more than 0"),
        ({"window": ""}, "center,width,function"),
        ({"window": "1_0,400,linear"}, "center,width,function"),
        ({"viewport": "512"}, "vw,vh"),
        ({"viewport": "512,256,1"}, "vw,vh"),
        ({"viewport": "0,256"}, "1 to 16384"),
        ({"viewport": "16385,256"}, "1 to 16384"),
        ({"viewport": "-512,256"}, "1 to 16384"),
        ({"viewport": "51.5,256"}, "1 to 16384"),
        ({"viewport": "512,256,-1,0,5,5"}, "not negative"),
        ({"viewport": "512,256,0,0,0,5"}, "vw,vh"),
        ({"viewport": ",256"}, "vw,vh"),
        ({"quality": "0"}, "1 to 100"),
        ({"quality": "101"}, "1 to 100"),
        ({"quality": "fine"}, "1 to 100"),
        ({"quality": "1" * 5000}, "1 to 100"),
        ({"annotation": "patient,ruler"}, "patient and technique"),
        ({"annotation": ""}, "patient and technique"),
        ({"iccprofile": "adobergb"}, "no, yes, srgb"),
    ],
)
def test_a_wrong_value_is_refused_by_name_with_what_is_allowed(
    query: dict[str, str], allowed: str
) -> None:
    (name,) = query
    with pytest.raises(WrongParameter) as caught:
        rendered_view(query)
    assert f"parameter {name}=" in str(caught.value)
    assert allowed in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_thumbnail_is_small_and_never_enlarged_unless_asked() -> None:
    assert thumbnail_view({}) == View(viewport=(256, 256), enlarge=False)
    assert thumbnail_view({"viewport": "99,50"}) == View(viewport=(99, 50))
    with pytest.raises(WrongParameter, match="viewport"):
        thumbnail_view({"viewport": "99,50,0,0,1,1"})


def test_wado_uri_asks_in_its_own_words() -> None:
    query = {
        "windowCenter": "40",
        "windowWidth": "400.5",
        "rows": "100",
        "region": "0.25,0.0,0.75,0.5",
        "imageQuality": "50",
        "frameNumber": "3",
        "annotation": "patient",
    }
    assert wado_uri_view(query) == View(
        window=Window(40, 400.5),
        viewport=(0, 100),
        region=Region(0.25, 0.0, 0.5, 0.5, shares=True),
        quality=50,
        annotations=("patient",),
    )
    assert wado_uri_frame(query) == 3
    assert wado_uri_frame({}) is None


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"windowCenter": "40"}, "windowCenter"),
        ({"windowWidth": "40"}, "windowWidth"),
        ({"windowCenter": "40", "windowWidth": "0"}, "windowWidth"),
        ({"windowCenter": "a", "windowWidth": "2"}, "windowCenter"),
        ({"rows": "0"}, "rows"),
        ({"columns": "99999"}, "columns"),
        ({"region": "0,0,1"}, "region"),
        ({"region": "0.5,0,0.5,1"}, "region"),
        ({"region": "0,0,1.5,1"}, "region"),
        ({"imageQuality": "200"}, "imageQuality"),
        ({"presentationUID": "1.2.3"}, "presentationUID"),
    ],
)
def test_a_wrong_value_in_wado_uri_is_refused_by_name(query: dict[str, Any], name: str) -> None:
    with pytest.raises(WrongParameter, match=f"parameter {name}"):
        wado_uri_view(query)


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", ""])
def test_a_frame_number_is_a_whole_number_from_1(number: str) -> None:
    with pytest.raises(WrongParameter, match="parameter frameNumber"):
        wado_uri_frame({"frameNumber": number})
