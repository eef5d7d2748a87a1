"""The typed errors, from the four shapes of error body that the hosted platform has."""

import json

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.errors import from_response
from comfyui_outpost.tests.fakes import recordings


def read(status: int, body: bytes, **headers: str) -> errors.ApiError:
    return from_response(status, body, method="GET", path="/x", headers=headers)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"detail": "Run not found"}', "Run not found"),
        (b'{"detail": [{"loc": ["body", "inputs", "size"], "msg": "too big"}]}', "body.inputs.size: too big"),
        (b'{"error": "Machine not found"}', "Machine not found"),
        (b"Internal Server Error", "Internal Server Error"),
        (b"<html>gateway</html>", "no reason was given"),
        (b"", "no reason was given"),
        (b'{"detail": {"why": 1}}', '{"why": 1}'),
        (b"[1]", "[1]"),
        (b"\xff\xfe", "��"),
        (b'{"detail": [7, {"msg": "wrong"}]}', "7; wrong"),
    ],
)
def test_the_reason_is_found_in_every_shape_of_body(body, message):
    assert str(read(400, body)) == f"{message} (GET /x answered 400)"


def test_each_wrong_field_is_a_problem_with_its_path():
    [problem] = read(422, b'{"detail": [{"loc": ["body", "inputs", 0, "1.source"], "msg": "is wrong"}]}').problems

    assert (problem.path, problem.message) == (("body", "inputs", "0", "1.source"), "is wrong")
    assert str(problem) == "body.inputs.0.1.source: is wrong"


def test_who_has_filled_in_a_form_is_told_the_field_and_not_the_request():
    fields = b'{"detail": [{"loc": ["body", "endpoint"], "msg": "is no address"}, {"msg": "wrong"}]}'

    assert read(422, fields).reason == "endpoint: is no address; wrong"
    assert read(409, b'{"detail": "It is used"}').reason == "It is used"
    assert read(500, b"").reason
    assert errors.NotFound("There is none").reason == "There is none"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (402, errors.PaymentRequired),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.TooLarge),
        (422, errors.Unprocessable),
        (429, errors.RateLimited),
        (500, errors.ServerError),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.Unavailable),
        (599, errors.ServerError),
        (418, errors.ApiError),
    ],
)
def test_each_status_has_its_class_and_keeps_its_number(status, kind):
    error = read(status, b"no")

    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "body", "is_named"),
    [
        (404, b'{"detail": "There is no deployment x"}', True),
        (500, b'{"detail": "Internal server error: 404: Machine not found"}', True),
        (404, b'{"detail": "Not Found"}', False),
        (404, b"<html>no such page</html>", False),
        (409, b'{"detail": "It is used"}', False),
    ],
)
def test_where_something_is_not_found_the_platform_is_named_that_was_asked(status, body, is_named):
    error = from_response(status, body, method="GET", path="/x", origin="http://gpu:8190")

    assert ("answered 404 at http://gpu:8190; another connection may have it)" in str(error)) == is_named
    assert ("gpu" in str(error)) == is_named
    assert "gpu" not in error.reason


def test_a_404_inside_of_a_500_is_a_404():
    error = read(500, b'{"detail": "Internal server error: 404: Machine not found"}')

    assert isinstance(error, errors.NotFound)
    assert str(error).startswith("Machine not found")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("asyncpg.exceptions.ForeignKeyViolationError", errors.NotFound),
        ("asyncpg.exceptions.UniqueViolationError", errors.Conflict),
        ("asyncpg.exceptions.InvalidTextRepresentationError", errors.BadRequest),
        ("asyncpg.exceptions.DataError", errors.BadRequest),
    ],
)
def test_what_a_database_refused_is_an_error_of_its_own_without_the_statement(words, kind):
    detail = f"Internal server error: (sqlalchemy.Error) <class '{words}'>: no\n[SQL: SELECT secret FROM users]"

    error = read(500, json.dumps({"detail": detail}).encode())

    assert type(error) is kind
    assert error.status == kind.status
    assert "SELECT" not in str(error)
    assert type(read(400, json.dumps({"detail": detail}).encode())) is errors.BadRequest


def test_an_error_tells_the_run_that_it_is_about():
    assert read(422, b'{"detail": "it failed", "run_id": "abc"}').run_id == "abc"
    assert read(422, b'{"detail": "no", "run_id": 7}').run_id is None
    assert read(422, b"[]").run_id is None


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-1", 0.0), ("tomorrow", None), ("", None)])
def test_retry_after_is_read_in_seconds(value, seconds):
    assert read(429, b"", **{"retry-after": value}).retry_after == seconds


def test_a_long_body_is_quoted_in_part():
    assert len(str(read(500, b"word " * 10_000))) < 260


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("one\n two", "one two"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        (" " * 20_000_000 + "x", "…"),
        ("http://host/a?signature=" + "s" * 20_000_000, "http://host/a?…"),
    ],
)
def test_of_somebody_elses_text_only_the_beginning_is_looked_at(text: str, quoted: str):
    assert errors.quote(text) == quoted


def test_of_a_long_text_no_more_than_its_beginning_is_split():
    class Text(str):
        __slots__ = ()

        def split(self, *_: object) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise AssertionError("all of it was split")

    assert errors.quote(Text("x" * 100_000)) == "x" * 199 + "…"


def test_every_kind_of_error_has_a_code_of_its_own():
    def family(kind):
        return [kind, *(each for child in kind.__subclasses__() for each in family(child))]

    kinds = [each for each in family(errors.OutpostError) if vars(errors).get(each.__name__) is each]
    assert len({each.code for each in kinds}) == len(kinds)


@pytest.mark.parametrize("name", ["get_run_run_id", "post_run_deployment_queue", "post_file_upload", "post_deployment"])
def test_every_recorded_refusal_is_an_error_with_a_reason(name):
    for each in recordings.exchanges(name):
        status, body = each["response"]["status"], each["response"]["body"]
        if status >= 400:
            error = from_response(status, recordings.encoded(body), method="GET", path="/x")
            assert "no reason was given" not in str(error), each["case"]


def test_a_connection_that_failed_tells_whether_the_request_may_have_arrived():
    assert not errors.ConnectionFailed("no").was_sent
    assert errors.ConnectionFailed("no", was_sent=True).was_sent
