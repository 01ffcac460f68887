"""The page: Gradio's components, and which question of `Visits` each of them asks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.exceptions import ComponentProcessingError

from faceverif.app import answers
from faceverif.app.fooling import GOALS, LARGEST_LEVELS, METHODS
from faceverif.app.refusal import Refusal
from faceverif.app.rendering import render
from faceverif.app.sessions import FIRST, SECOND, Session
from faceverif.app.uploads import Uploads
from faceverif.app.visits import Visits

_USUAL_LEVELS = 8
_TITLES = {FIRST: "First photo", SECOND: "Second photo"}
_TABS = ("Compare", "Fool it", "Who is it", "Reports")
_PROGRESS = gr.Progress()
_PRIVATE: dict[str, Any] = {
    "api_visibility": "private"
}  # events are the page's own, no interface for programs
_QUIET: dict[str, Any] = {"show_progress": "hidden", **_PRIVATE}  # the answer comes at once: nothing dims


class _Page(gr.Blocks):
    """Blocks that take no file but an upload.

    Gradio reads every file, and fetches every address, that a browser names in any input of any event.
    Its own check of them begins with `launch`, which is not used here.
    """

    uploads: Uploads

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """As Gradio's, which calls it first of all with what a browser sent."""
        try:
            self.uploads.check_sent(inputs)
        except Refusal as error:
            raise gr.Error(str(error), print_exception=False) from error
        super().validate_inputs(block_fn, inputs)

    async def preprocess_data(self, *given: Any, **more: Any) -> list[Any]:
        """As Gradio's; a value that is not offered, as a page of an earlier server sends it, is no bug."""
        try:
            return await super().preprocess_data(*given, **more)
        except (gr.Error, ComponentProcessingError) as error:
            if isinstance(error.__cause__, Refusal):
                raise
            words = "The page does not offer this choice. Load it again."
            raise gr.Error(words, print_exception=False) from error


def build_page(visits: Visits, uploads: Uploads) -> gr.Blocks:
    """The page as Gradio serves it."""
    with _Page(title="faceverif", analytics_enabled=False, delete_cache=(60, 600)) as blocks:
        blocks.uploads = uploads
        gr.HTML(render("heading", model=visits.matcher.name))
        with gr.Row() as photos:
            slots = [_photo_slot(place) for place in (FIRST, SECOND)]
        point = _far_slider(visits)
        with gr.Tabs():
            tabs = [gr.Tab(name) for name in _TABS]
        with tabs[0]:
            compared = gr.HTML(answers.compared(Session(), visits.matcher, 0), elem_id="compared")
        with tabs[1]:
            fooled = _fool_tab(visits, point)
        with tabs[2]:
            found = _search_tab(visits, point)
        with tabs[3]:
            _reports_tab(visits)
        results = [compared, fooled, found]
        for slot in slots:
            _connect_photo(visits, uploads, slot, point, results)
        _connect_far(visits, point, results)
        _hide_photos_beside_reports(tabs, photos, point)

        def on_close(request: gr.Request) -> None:
            visits.sessions.forget(_page_of(request))

        blocks.unload(on_close)
    return blocks


@dataclass(frozen=True)
class _Slot:
    """Where a photo is given, and what is shown of it."""

    place: str
    photo: gr.Image
    shown: gr.HTML
    face: gr.Radio


def _photo_slot(place: str) -> _Slot:
    with gr.Column(min_width=300):
        photo = gr.Image(
            label=_TITLES[place],
            sources=["upload", "webcam", "clipboard"],
            height=170,
            buttons=[],
            elem_id=f"{place}-photo",
        )
        shown = gr.HTML(elem_id=f"{place}-shown")
        face = gr.Radio([], label="Face", visible=False, elem_id=f"{place}-face")
    return _Slot(place, photo, shown, face)


def _far_slider(visits: Visits) -> gr.Slider:
    usual, last = visits.matcher.usual_point, len(visits.matcher.points) - 1
    return gr.Slider(
        0,
        max(last, 1),
        value=usual,
        step=1,
        label=answers.far_label(visits.matcher, usual),
        info="To the right: stricter. It accepts fewer strangers, and fewer photos of the same person.",
        elem_id="far",
        interactive=last > 0,
        buttons=[],
    )


def _fool_tab(visits: Visits, point: gr.Slider) -> gr.HTML:
    goals, methods = list(GOALS), list(METHODS)
    # A column each: beside each other in a row, Gradio would join them into a form that a phone cannot wrap.
    with gr.Row():
        with gr.Column(min_width=220):
            goal = gr.Radio(goals, value=goals[0], label="The first photo is to", elem_id="goal")
        with gr.Column(min_width=220):
            method = gr.Radio(methods, value=methods[0], label="Attack", elem_id="method")
        with gr.Column(min_width=220):
            levels = gr.Slider(
                1,
                LARGEST_LEVELS,
                value=_USUAL_LEVELS,
                step=1,
                label="Epsilon: largest change of a pixel, of 255",
                info="Of PGD and FGSM. A patch takes any colour.",
                elem_id="levels",
                buttons=[],
            )
    start = gr.Button("Attack the first photo", variant="primary", elem_id="attack")
    shown = gr.HTML(answers.fooled(Session(), visits.matcher, 0), elem_id="fooled")

    def on_attack(goal: str, method: str, levels: int, point: int, request: gr.Request) -> str:
        page = _page_of(request)
        return visits.attack(page, goal=goal, method=method, levels=int(levels), point=int(point))

    # One attack at a time: each seeds PyTorch's generator, which the whole process shares.
    start.click(on_attack, [goal, method, levels, point], shown, concurrency_limit=1, **_PRIVATE)
    return shown


def _search_tab(visits: Visits, point: gr.Slider) -> gr.HTML:
    folder = gr.Textbox(
        visits.gallery,
        label="Gallery: a folder on this machine, with a folder or a photo per person",
        interactive=visits.own_machine,
        elem_id="gallery",
    )
    with gr.Row():
        opening = gr.Button("Open the gallery", elem_id="open-gallery")
        looking = gr.Button("Who is on the first photo?", variant="primary", elem_id="search")
    about = gr.HTML(elem_id="about-gallery")
    shown = gr.HTML(answers.found_people(Session(), visits.matcher, 0), elem_id="found")

    def on_gallery(folder: str, request: gr.Request, progress: gr.Progress = _PROGRESS) -> str:
        def tell(done: int, total: int) -> None:
            progress((done, total), desc="Looking for faces")

        return visits.open_gallery(_page_of(request), folder, progress=tell)

    def on_search(point: int, request: gr.Request) -> str:
        return visits.search(_page_of(request), int(point))

    gr.on([opening.click, folder.submit], on_gallery, [folder], about, **_PRIVATE)
    looking.click(on_search, [point], shown, **_PRIVATE)
    return shown


def _reports_tab(visits: Visits) -> None:
    folder = gr.Textbox(
        visits.runs, label="A folder of runs on this machine", interactive=visits.own_machine, elem_id="runs"
    )
    listing = gr.Button("List the reports", elem_id="list-reports")
    shown = gr.HTML(elem_id="reports")
    gr.on([listing.click, folder.submit], visits.list_reports, [folder], shown, **_QUIET)


def _connect_photo(
    visits: Visits, uploads: Uploads, slot: _Slot, point: gr.Slider, results: list[gr.HTML]
) -> None:
    def on_photo(file: dict[str, Any] | None, point: int, request: gr.Request) -> list[Any]:
        if file is None:
            return [gr.skip()] * (3 + len(results))
        page, name = _page_of(request), str(file.get("orig_name") or "the photo")
        given = visits.give_photo(page, slot.place, uploads.checked(file.get("path")), name)
        choices = [str(number) for number in range(1, given.faces + 1)]
        face = gr.Radio(choices, value=str(given.chosen + 1) if choices else None, visible=given.faces > 1)
        return [None, given.shown, face, *visits.results(page, int(point))]

    def on_face(face: str, point: int, request: gr.Request) -> list[str]:
        page = _page_of(request)
        return [visits.choose_face(page, slot.place, int(face) - 1), *visits.results(page, int(point))]

    slot.photo.input(
        on_photo,
        [slot.photo, point],
        [slot.photo, slot.shown, slot.face, *results],
        preprocess=False,  # the file as it came: Gradio would decode it, and show its own errors
        show_progress="minimal",
        **_PRIVATE,
    )
    slot.face.input(on_face, [slot.face, point], [slot.shown, *results], **_QUIET)


def _connect_far(visits: Visits, point: gr.Slider, results: list[gr.HTML]) -> None:
    def on_far(point: int, request: gr.Request) -> list[Any]:
        label = gr.Slider(label=answers.far_label(visits.matcher, int(point)))
        return [label, *visits.results(_page_of(request), int(point))]

    point.input(on_far, [point], [point, *results], trigger_mode="always_last", **_QUIET)


def _hide_photos_beside_reports(tabs: list[gr.Tab], photos: gr.Row, point: gr.Slider) -> None:
    # In the browser: two answers of the server may come in the other order, and the photos would stay hidden.
    for tab, name in zip(tabs, _TABS, strict=True):
        change = json.dumps({"__type__": "update", "visible": name != "Reports"})
        tab.select(None, None, [photos, point], js=f"() => [{change}, {change}]", **_QUIET)


def _page_of(request: gr.Request) -> str:
    """The word by which Gradio knows an open page."""
    return str(request.session_hash)
