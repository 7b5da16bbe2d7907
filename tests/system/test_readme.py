"""The commands of README.md, pasted into a shell in an empty folder."""

import json
import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.documents import fresh_clone, shell_blocks
from tests.support.fake_services import free_port

TIMEOUT_SECONDS = 120  # against hanging; nothing is measured by it
DEMO, SERVER, SESSION, ASSISTANT = shell_blocks("README.md")  # test_demo.py runs DEMO


class Model(BaseHTTPRequestHandler):
    """A server of Chat Completions that answers with the number of the messages it received."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = [message for message in body["messages"] if message["role"] != "system"]
        message = {"role": "assistant", "content": f"I have read {len(said)}."}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        content = json.dumps({**answer, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments):
        """Keep the output of the tests clean."""


@contextmanager
def model():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def paste(block, folder, environment, port):
    """Start a shell with the block. Only the port differs, because 8000 may be taken here."""
    return subprocess.Popen(
        ["/bin/sh", "-c", block.replace("8000", str(port))],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """The folder, and output and errors of the session and the server of two rounds in it."""
    folder = tmp_path_factory.mktemp("clone")
    environment, port = fresh_clone(folder), free_port()
    outputs = []
    with model() as model_url:
        serving = {**environment, "PORT": str(port), "OPENAI_BASE_URL": model_url}
        for _ in range(2):
            server = paste(SERVER, folder, {**serving, "OPENAI_MODEL": "m"}, port)
            session = paste(SESSION + ASSISTANT, folder, environment, port)
            try:
                said = session.communicate(timeout=TIMEOUT_SECONDS)
            finally:
                for process in (session, server):
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
                server_said = server.communicate(timeout=TIMEOUT_SECONDS)
            outputs.append((*said, *server_said))
    return folder, outputs


@pytest.mark.parametrize("number", [0, 1], ids=["at first", "again"])
def test_the_session_of_the_readme_ends_with_the_amounts_that_the_text_explains(rounds, number):
    output, errors, _, _ = rounds[1][number]

    assert errors == ""
    email, item, meal, *rest = output.splitlines()
    assert email.startswith("cook-")
    assert (item, meal) == ("flour", "Pancakes")
    explanation = json.loads("\n".join(rest[:-2]))
    (flour,) = explanation["lines"]
    (salt,) = explanation["unquantified"]
    assert (float(flour["to_buy"]), flour["unit"]) == (8.8, "g")
    assert [float(lot["quantity"]) for lot in flour["covered"]] == [500]
    assert (salt["ingredient_name"], salt["text"]) == ("salt", "to taste")


@pytest.mark.parametrize("number", [0, 1], ids=["at first", "again"])
def test_the_second_question_of_the_readme_continues_the_first(rounds, number):
    output, _, _, _ = rounds[1][number]

    assert output.splitlines()[-2:] == ["I have read 1.", "I have read 3."]


def test_ctrl_c_ends_the_server_of_the_readme_without_a_traceback(rounds):
    for _, _, _, errors in rounds[1]:
        assert "Freshly serves on http://127.0.0.1:" in errors
        assert "Traceback" not in errors


def test_the_data_is_where_the_readme_says(rounds):
    folder, _ = rounds

    assert (folder / "data" / "freshly.db").is_file()
    assert list((folder / "home").iterdir()) == []
