"""Settings of a server: arguments go before ``QEXEC_*`` variables, these before ``[server]`` in ``qexec.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_config_path
from pydantic import BeforeValidator, ByteSize, Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.limits import Limits

FILE = "qexec.toml"
LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def _as_list(value: Any) -> Any:
    """Names with commas between them, as a variable of the environment has them, and as ``qml.device`` takes them."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """Settings of a server; each is also a variable ``QEXEC_NAME`` and a key of ``[server]`` in ``qexec.toml``.

    ``qexec.toml`` is looked for in the working folder, then in the user's configuration folder. Make one by
    :func:`load_settings`, whose errors say what to do.

    Attributes:
        host: address to listen at; another one than this machine's own needs tokens.
        port: to listen at.
        store: database of jobs, sessions and tokens: path of a SQLite file, or URL of a PostgreSQL database, which
            several servers may share.
        require_tokens: refuse requests without a token even where the store has none yet. Once a token was made, all
            requests need one.
        executors: what runs circuits, the first for the plain names of backends: specs as ``qml.device("qexec.cluster",
            executors=...)`` takes them; in a variable, with commas between them.
        workers: worker processes for local simulation; default: one for each core but one.
        worker_memory: largest memory of a worker process; default: all that the machine has.
        calibrations: files of backends' properties, by the name of the backend.
        queue_limit: jobs that may wait; a client that sends more is asked to come again later.
        max_body: largest body of a request, in bytes or as ``"32 MB"``.
        max_decompressed: largest payload of a job after decompression.
        max_memory: largest memory of a worker process while it decodes a payload.
        max_qubits: of a circuit.
        max_operations: of the circuits of a job together.
        max_seconds: how long a job may run which says nothing about it.
        session_ttl: longest life of a session, in seconds.
        interactive_ttl: how long a session waits for its next job before others have their turn, in seconds.
        usage_limit: seconds that a user may use within ``usage_days``; ``None``: no limit.
        usage_days: length of the period that ``usage_limit`` is for.
        grace: how long running jobs may go on when the server stops, in seconds; then they wait for its next start.
        gpu_device: which GPU Aer uses, the first being 0; ``None``: the CPU.
        gpu_memory_limit: largest memory that Aer may use for a state on the GPU.
        gpu_noise: whether what runs on the GPU has the noise of the named backend.
        log_level: of the logs, which are JSON, one object on each line of the standard error.
    """

    model_config = SettingsConfigDict(env_prefix="QEXEC_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    store: str = "qexec.db"
    require_tokens: bool = False
    executors: Annotated[tuple[str | dict[str, Any], ...], NoDecode, BeforeValidator(_as_list)] = Field(
        ("aer",), min_length=1
    )
    workers: PositiveInt | None = None
    worker_memory: ByteSize | None = Field(None, gt=0)
    calibrations: dict[str, Path] = {}
    queue_limit: PositiveInt = 10_000
    max_body: ByteSize = Field(ByteSize(32_000_000), gt=0)
    max_decompressed: ByteSize = Field(ByteSize(256_000_000), gt=0)
    max_memory: ByteSize = Field(ByteSize(4_000_000_000), gt=0)
    max_qubits: PositiveInt = 256
    max_operations: PositiveInt = 5_000_000
    max_seconds: PositiveFloat = 10_000.0
    session_ttl: PositiveFloat = 28_800.0
    interactive_ttl: PositiveFloat = 60.0
    usage_limit: PositiveFloat | None = None
    usage_days: PositiveInt = 28
    grace: NonNegativeFloat = 30.0
    gpu_device: int | None = Field(None, ge=0)
    gpu_memory_limit: ByteSize | None = Field(None, gt=0)
    gpu_noise: bool = True
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, the environment, the file; tokens of providers in a ``.env`` are none of the server's business."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _of_file())

    @property
    def limits(self) -> Limits:
        """How large jobs may be."""
        return Limits(
            decompressed=self.max_decompressed,
            memory=self.max_memory,
            qubits=self.max_qubits,
            operations=self.max_operations,
        )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOCAL_HOSTS


def load_settings(**given: Any) -> Settings:
    """Settings of a server, from what is given, the environment and ``qexec.toml``.

    Args:
        **given: settings that go before all others; ``None`` counts as not given.

    Raises:
        ConfigurationError: a setting is unknown or makes no sense, or ``qexec.toml`` cannot be read.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise ConfigurationError(" ".join(_advice(one) for one in error.errors(include_url=False))) from None


def _advice(problem: Any) -> str:
    """One problem of pydantic's, in a sentence; without the value where there is none, as for an unknown name."""
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"a server has no setting {name!r}: its settings are {', '.join(Settings.model_fields)}."
    return f"setting {name} of the server is {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}."


def _of_file() -> dict[str, Any]:
    """The table ``[server]``; where two files have a key, that of the working folder counts."""
    found: dict[str, Any] = {}
    for path in (user_config_path("qexec") / FILE, Path(FILE)):
        try:
            found.update(tomllib.loads(path.read_text(encoding="utf-8")).get("server", {}))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}. Correct it, or move it away.") from error
    return found
