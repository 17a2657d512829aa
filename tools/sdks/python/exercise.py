"""Uses the official Python SDK, unmodified, against a server: what it does must come back as it promises.

    python exercise.py [group ...]

SPRITES_API_URL and SPRITE_TOKEN say where. Prints one line a check; the exit code is 1 if one failed.
"""

from __future__ import annotations

import asyncio
import faulthandler
import io
import os
import sys
import threading
import time
import traceback
import uuid
from typing import Callable

from sprites import (
    ListOptions,
    NetworkPolicy,
    NotFoundError,
    PolicyRule,
    Sprite,
    SpritesClient,
    URLSettings,
)
from sprites.exceptions import (
    AuthenticationError,
    DirectoryNotEmptyError,
    ExecError,
    FileNotFoundError_,
    IsADirectoryError_,
    NotADirectoryError_,
)

try:
    from sprites import AsyncSpritesClient
except ImportError:  # It came with 0.7.0.
    AsyncSpritesClient = None

BASE_URL = os.environ["SPRITES_API_URL"]
TOKEN = os.environ["SPRITE_TOKEN"]
# Two checks at once, or a run after one that was killed, must not meet.
PREFIX = f"py-{uuid.uuid4().hex[:8]}"

CHECK_SECONDS_MAX = 120

Check = Callable[[SpritesClient, Sprite], None]
GROUPS: dict[str, list[Check]] = {}


def check(group: str) -> Callable[[Check], Check]:
    def register(function: Check) -> Check:
        GROUPS.setdefault(group, []).append(function)
        return function

    return register


def raises(kind: type[BaseException], function: Callable[[], object]) -> BaseException:
    try:
        function()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def eventually(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not come: {what}"
        time.sleep(0.05)


# Sprites


@check("sprites")
def sprites_are_made_found_changed_listed_and_deleted(client: SpritesClient, _: Sprite) -> None:
    name = f"{PREFIX}-life"
    made = client.create_sprite(name, labels=["a"], url_settings=URLSettings(auth="sprite"))
    try:
        assert made.name == name and made.id and made.labels == ["a"]
        found = client.get_sprite(name)
        assert found.id == made.id and found.created_at is not None
        changed = found.update(labels=["b", "c"])
        assert changed.labels == ["b", "c"]
        found.update_url_settings(URLSettings(auth="public"))
        settings = client.get_sprite(name).url_settings
        assert settings is not None and settings.auth == "public"
        listed = client.list_sprites(ListOptions(prefix=PREFIX, max_results=100))
        assert name in [item.name for item in listed.sprites]
        assert name in [item.name for item in client.list_all_sprites(PREFIX)]
        found.upgrade()
    finally:
        made.delete()
    raises(NotFoundError, lambda: client.get_sprite(name))


@check("sprites")
def a_wrong_token_is_an_authentication_error(_: SpritesClient, sprite: Sprite) -> None:
    with SpritesClient(TOKEN + "x", base_url=BASE_URL) as stranger:
        raises(AuthenticationError, lambda: stranger.get_sprite(sprite.name))


# Commands: the same over a socket of their own and over a control connection


def exec_checks(group: str) -> None:
    @check(group)
    def output_and_exit_codes(_: SpritesClient, sprite: Sprite) -> None:
        done = sprite.run("sh", "-c", "echo out; echo err >&2; exit 7", capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n"), done
        assert sprite.command("echo", "-n", "hello").output() == b"hello"
        assert sprite.run("true").returncode == 0
        assert sprite.run("sh", "-c", "kill -9 $$").returncode == 137
        error = raises(ExecError, lambda: sprite.run("false", check=True))
        assert "1" in str(error)

    @check(group)
    def a_missing_program_is_127(_: SpritesClient, sprite: Sprite) -> None:
        done = sprite.run("no-such-program", capture_output=True)
        assert done.returncode == 127 and b"no-such-program" in (done.stderr or b""), done

    @check(group)
    def environment_and_directory(_: SpritesClient, sprite: Sprite) -> None:
        done = sprite.run("sh", "-c", "echo $FOO; pwd", env={"FOO": "a=b c"}, cwd="/tmp", capture_output=True)
        assert done.stdout == b"a=b c\n/tmp\n", done
        home = sprite.run("pwd", capture_output=True)
        assert (home.stdout or b"").startswith(b"/home"), home

    @check(group)
    def stdin_and_its_end(_: SpritesClient, sprite: Sprite) -> None:
        data = os.urandom(1_000_000)
        command = sprite.command("cat", stdin=io.BytesIO(data))
        assert command.output() == data
        assert sprite.command("cat").output() == b""
        assert sprite.command("sh", "-c", "tty; true").output() == b"not a tty\n"

    @check(group)
    def large_output_is_complete(_: SpritesClient, sprite: Sprite) -> None:
        size = 20_000_000
        out = sprite.command("sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x").output()
        assert len(out) == size and out.count(b"x") == size

    @check(group)
    def a_terminal(_: SpritesClient, sprite: Sprite) -> None:
        done = sprite.run("stty", "size", tty=True, tty_rows=30, tty_cols=100, capture_output=True)
        assert done.returncode == 0 and done.stdout == b"30 100\r\n", done
        assert sprite.run("sh", "-c", "exit 9", tty=True).returncode == 9

    @check(group)
    def many_at_once(_: SpritesClient, sprite: Sprite) -> None:
        results: dict[int, bytes] = {}

        def one(index: int) -> None:
            results[index] = sprite.command("sh", "-c", f"sleep 0.2; echo {index}").output()

        threads = [threading.Thread(target=one, args=(index,)) for index in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {index: f"{index}\n".encode() for index in range(12)}, results

    @check(group)
    def short_commands_lose_nothing(_: SpritesClient, sprite: Sprite) -> None:
        for index in range(40):
            done = sprite.run("sh", "-c", f"echo {index}; exit {index}", capture_output=True)
            assert (done.returncode, done.stdout) == (index, f"{index}\n".encode()), done


exec_checks("exec")
exec_checks("control")


@check("control")
def a_control_connection_is_what_carries_them(client: SpritesClient, sprite: Sprite) -> None:
    assert sprite.use_control_mode()
    sprite.run("true")
    assert sprite.has_control_connection() and sprite.use_control_mode()


@check("control")
def a_timeout_leaves_the_connection_usable(_: SpritesClient, sprite: Sprite) -> None:
    raises(BaseException, lambda: sprite.run("sleep", "30", timeout=0.5))
    done = sprite.run("echo", "after", capture_output=True)
    assert done.stdout == b"after\n", done


@check("async")
def the_async_client_does_the_same(_: SpritesClient, sprite: Sprite) -> None:
    if AsyncSpritesClient is None:
        return

    async def work(control_mode: bool) -> None:
        options = {"base_url": BASE_URL, "control_mode": control_mode}
        async with AsyncSpritesClient(TOKEN, **options) as client:
            handle = client.sprite(sprite.name)
            commands = [handle.run("echo", str(index), capture_output=True) for index in range(5)]
            done = await asyncio.gather(*commands)
            assert [item.stdout for item in done] == [f"{index}\n".encode() for index in range(5)]

    for control_mode in (False, True):
        asyncio.run(work(control_mode))


# Sessions


@check("sessions")
def a_session_is_listed_joined_and_killed(client: SpritesClient, sprite: Sprite) -> None:
    from sprites.session import kill_session

    marker = "print-then-wait"
    script = f"echo {marker}; exec sleep 60"
    failures: list[BaseException] = []

    def background() -> None:
        try:
            sprite.run("sh", "-c", script, tty=True)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=background)
    thread.start()
    eventually(lambda: len(sprite.list_sessions()) == 1, "the session")
    [session] = sprite.list_sessions()
    assert session.tty and session.created is not None
    sink = io.BytesIO()
    attached = sprite.attach_session(session.id)
    attached.stdout = sink
    joined: list[int] = []

    def join() -> None:
        try:
            attached.run()
            joined.append(0)
        except ExecError as error:
            joined.append(error.exit_code() if callable(error.exit_code) else error.exit_code)

    joiner = threading.Thread(target=join)
    joiner.start()
    eventually(lambda: marker.encode() in sink.getvalue(), "the scrollback")
    messages = list(kill_session(sprite, session.id, signal="SIGTERM"))
    assert messages[-1].type == "complete", messages
    thread.join(timeout=20)
    joiner.join(timeout=20)
    assert not thread.is_alive() and not joiner.is_alive() and not failures, failures
    assert joined == [143], joined
    assert sprite.list_sessions() == []


# Checkpoints


@check("checkpoints")
def a_checkpoint_brings_a_file_back(_: SpritesClient, sprite: Sprite) -> None:
    sprite.run("sh", "-c", "echo first > ~/kept", check=True)
    messages = list(sprite.create_checkpoint("from python"))
    assert messages[-1].type == "complete", messages
    [checkpoint] = [item for item in sprite.list_checkpoints() if item.comment == "from python"]
    assert checkpoint.id in (messages[-1].data or "")
    assert sprite.get_checkpoint(checkpoint.id).comment == "from python"
    assert isinstance(sprite.list_checkpoints(checkpoint.id), list)
    sprite.run("sh", "-c", "echo second > ~/kept", check=True)
    restored = list(sprite.restore_checkpoint(checkpoint.id))
    assert restored[-1].type == "complete", restored
    assert sprite.command("sh", "-c", "cat ~/kept").output() == b"first\n"
    raises(NotFoundError, lambda: sprite.get_checkpoint("v999"))


# Files


@check("files")
def files_are_written_read_listed_and_changed(_: SpritesClient, sprite: Sprite) -> None:
    root = sprite.filesystem("/home/sprite")
    data = os.urandom(3_000_000)
    (root / "deep" / "er" / "data.bin").write_bytes(data)
    assert (root / "deep" / "er" / "data.bin").read_bytes() == data
    text = root / "deep" / "text.txt"
    text.write_text("grüße\n")
    assert text.read_text() == "grüße\n" and text.exists() and text.is_file()
    assert text.stat().size == len("grüße\n".encode())
    assert sorted((root / "deep").listdir()) == ["er", "text.txt"]
    assert {str(item.name) for item in (root / "deep").iterdir()} == {"er", "text.txt"}
    text.chmod(0o600)
    assert sprite.command("stat", "-c", "%a", "/home/sprite/deep/text.txt").output() == b"600\n"
    moved = text.rename(root / "deep" / "moved.txt")
    assert moved.read_text() == "grüße\n" and not text.exists()
    moved.copy_to(root / "deep" / "copy.txt")
    assert (root / "deep" / "copy.txt").read_text() == "grüße\n"
    (root / "deep" / "touched").touch()
    assert (root / "deep" / "touched").read_bytes() == b""
    moved.unlink()
    (root / "deep").rmtree()
    assert not (root / "deep").exists()


@check("files")
def directories_are_made_and_removed(_: SpritesClient, sprite: Sprite) -> None:
    root = sprite.filesystem("/home/sprite")
    folder = root / "made"
    folder.mkdir()
    assert sprite.run("test", "-d", "/home/sprite/made").returncode == 0
    (root / "a" / "b" / "c").mkdir(parents=True)
    assert sprite.run("test", "-d", "/home/sprite/a/b/c").returncode == 0
    (folder / "file").write_text("x")
    raises(DirectoryNotEmptyError, folder.rmdir)
    (folder / "file").unlink()
    folder.rmdir()
    assert sprite.run("test", "-e", "/home/sprite/made").returncode == 1


@check("files")
def errors_have_their_kinds(_: SpritesClient, sprite: Sprite) -> None:
    root = sprite.filesystem("/home/sprite")
    raises(FileNotFoundError_, (root / "missing").read_bytes)
    raises(FileNotFoundError_, (root / "missing").unlink)
    (root / "missing").unlink(missing_ok=True)
    raises(IsADirectoryError_, root.path("/home").read_bytes)
    (root / "plain").write_text("x")
    raises(NotADirectoryError_, (root / "plain" / "below").read_bytes)
    assert not (root / "missing").exists()


# Services


@check("services")
def a_service_lives_its_life(_: SpritesClient, sprite: Sprite) -> None:
    script = "echo started; while :; do sleep 0.1; done"
    with sprite.create_service("web", "sh", ["-c", script], duration=1, env={"A": "b"}) as stream:
        events = list(stream)
    assert [event.type for event in events][0] == "started", events
    assert events[-1].type == "complete", events
    assert any("started" in (event.data or "") for event in events), events
    service = sprite.get_service("web")
    assert service.state is not None and service.state.status == "running" and service.state.pid
    assert [item.name for item in sprite.list_services()] == ["web"]
    stopped = list(sprite.stop_service("web", timeout=2))
    assert [event.type for event in stopped][-1] == "complete", stopped
    state = sprite.get_service("web").state
    assert state is not None and state.status == "stopped", state
    assert list(sprite.start_service("web", duration=0.2))[-1].type == "complete"
    sprite.signal_service("web", "TERM")
    sprite.delete_service("web")
    assert sprite.list_services() == []


# Policy


@check("policy")
def the_network_policy_is_kept(_: SpritesClient, sprite: Sprite) -> None:
    assert sprite.get_network_policy().rules == []
    rules = [PolicyRule(domain="example.com", action="allow"), PolicyRule(include="defaults")]
    sprite.update_network_policy(NetworkPolicy(rules=rules))
    assert sprite.get_network_policy().rules == rules
    raises(
        Exception,
        lambda: sprite.update_network_policy(
            NetworkPolicy(rules=[PolicyRule(domain="example.com", action="perhaps")])
        ),
    )
    sprite.update_network_policy(NetworkPolicy(rules=[]))


def run_group(group: str) -> int:
    failed = 0
    is_control = group == "control"
    with SpritesClient(TOKEN, base_url=BASE_URL, control_mode=is_control) as client:
        sprite = client.create_sprite(f"{PREFIX}-{group}")
        sprite.client = client
        try:
            for function in GROUPS[group]:
                title = f"python {group}: {function.__name__.replace('_', ' ')}"
                start = time.monotonic()
                # A check that hangs says where, and ends the exercise.
                print(f"begun  {title}", flush=True)
                faulthandler.dump_traceback_later(CHECK_SECONDS_MAX, exit=True)
                try:
                    function(client, sprite)
                    print(f"ok     {title} ({time.monotonic() - start:.2f} s)", flush=True)
                except BaseException:
                    failed += 1
                    print(f"FAILED {title}\n{traceback.format_exc()}", flush=True)
                finally:
                    faulthandler.cancel_dump_traceback_later()
        finally:
            sprite.destroy()
    return failed


def main() -> int:
    groups = sys.argv[1:] or list(GROUPS)
    failed = sum(run_group(group) for group in groups)
    print(f"{failed} failed" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
