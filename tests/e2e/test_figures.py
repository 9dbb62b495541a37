"""Figures of matplotlib, from the cell to the client."""

import importlib.util
import os

import pytest
from watching import begun, shown_by

import stateroom
from stateroom import DisplayMessage, OutputMessage

PNG = b"\x89PNG\r\n\x1a\n"
needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n"


@pytest.fixture
async def plotting(tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    async with stateroom.Session(env=env) as session:
        yield session


@needs_matplotlib
class TestFigures:
    async def test_figures_arrive_at_the_end_of_their_cell(self, plotting):
        result, seen = await shown_by(plotting, PLOT + "plt.figure()\nprint('last')\nNone")
        assert [type(message) for message in seen] == [OutputMessage, DisplayMessage, DisplayMessage]
        assert all(shown.mime["image/png"].startswith(PNG) for shown in result.displays)
        assert result.displays[0].mime["text/plain"] == "<Figure size 640x480 with 1 Axes>"
        result, _ = await shown_by(plotting, "plt.get_fignums()")
        assert (result.value, result.displays) == ([], [])

    async def test_show_sends_at_once(self, plotting):
        _, seen = await shown_by(plotting, PLOT + "plt.show()\nprint('after')")
        assert [type(message) for message in seen] == [DisplayMessage, OutputMessage]

    async def test_a_figure_shows_itself_alone(self, plotting):
        result, _ = await shown_by(
            plotting, PLOT + "first = plt.gcf()\nplt.figure()\nfirst.show()\nprint(plt.get_fignums())"
        )
        assert result.stdout == "[2]\n"
        assert len(result.displays) == 2

    @pytest.mark.parametrize(
        ("form", "kind", "start"),
        [("svg", "image/svg+xml", "<?xml"), ("pdf", "application/pdf", b"%PDF"), ("tiff", "image/png", PNG)],
    )
    async def test_other_formats_on_request(self, plotting, form, kind, start):
        code = PLOT + f"plt.rcParams['savefig.format'] = {form!r}"
        result, _ = await shown_by(plotting, code)
        assert result.displays[0].mime[kind].startswith(start)

    async def test_a_figure_that_is_the_value_is_shown_once(self, plotting):
        result, _ = await shown_by(plotting, PLOT + "plt.gcf()")
        assert result.mime["image/png"].startswith(PNG)
        assert result.displays == []
        result, _ = await shown_by(plotting, "f, _ = plt.subplots()\ndisplay(f)")
        assert len(result.displays) == 1

    async def test_a_closed_figure_can_be_shown_again(self, plotting):
        await plotting.run(PLOT + "kept = plt.gcf()", check=True)
        result, _ = await shown_by(plotting, "kept")
        assert result.mime["image/png"].startswith(PNG)

    async def test_a_failed_cell_shows_what_it_has_drawn(self, plotting):
        result = await plotting.run(PLOT + "1/0")
        assert result.error.type == "ZeroDivisionError"
        assert len(result.displays) == 1

    async def test_a_figure_that_cannot_be_drawn_is_reported_and_gone(self, plotting):
        result = await plotting.run(PLOT + "plt.title('$\\\\nosuch$')\n5", check=True)
        assert result.value == 5
        assert "nosuch" in result.stderr
        assert (await plotting.run("plt.get_fignums()")).value == []

    async def test_drawing_can_be_cancelled(self, plotting):
        code = PLOT + (
            "class Slow(type(plt.gca().lines[0])):\n"
            "    def draw(self, renderer):\n"
            "        print('on')\n"
            "        while True: pass\n"
            "plt.gca().add_line(Slow([0], [0]))"
        )
        running = await begun(plotting, code)
        assert await plotting.cancel() is stateroom.CancelOutcome.CANCELLED
        assert (await running).cancelled
        assert (await plotting.run("plt.get_fignums()")).value == []

    async def test_figures_of_a_cancelled_cell_come_with_the_next(self, plotting):
        code = PLOT + "print('on')\nwhile True: pass"
        running = await begun(plotting, code)
        await plotting.cancel()
        assert (await running).displays == []
        result, _ = await shown_by(plotting, "1")
        assert len(result.displays) == 1

    async def test_a_backend_that_the_user_has_chosen_is_left_alone(self):
        async with stateroom.Session(env={**os.environ, "MPLBACKEND": "agg"}) as session:
            result, _ = await shown_by(session, PLOT + "plt.get_backend(), plt.get_fignums()")
            assert result.displays == []
            assert result.value[0].lower() == "agg"
            assert result.value[1] == [1]

    async def test_matplotlib_is_loaded_by_nobody_else(self, plotting):
        assert (await plotting.run("import sys\n'matplotlib' in sys.modules")).value is False
