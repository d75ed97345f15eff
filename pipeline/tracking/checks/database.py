"""A database that MLflow writes to without a server: its driver, whether it lets us in, which MLflow made its tables.

Asked through SQLAlchemy, once: MLflow itself tries ten times, for a hundred seconds, and brings some older tables up
to date without a word, on which other programs may work.
"""

from pathlib import Path
from typing import Any

from pipeline.config.redaction import redacted
from pipeline.tracking.delivery import first_line
from stages.errors import InputError

SECONDS = 10
"""How long a database may take to answer."""
PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}
"""What is installed for a driver, where that is called otherwise."""
_PASSWORDS = {
    "postgresql": "in PGPASSWORD or ~/.pgpass",
    "mysql": "in a file that the address names by ?read_default_file=",
    "mssql": "by the driver's own means",
}


def check_database(uri: str) -> bool:
    """Whether MLflow's tables are in the database, as this MLflow makes them; without them it makes them itself.

    Raises `InputError` where the driver is not installed, the database does not let us in, or its tables are those of
    another MLflow.
    """
    import sqlalchemy
    from alembic.migration import MigrationContext

    url = sqlalchemy.make_url(uri)
    _check_driver(url)
    seconds = {"connect_timeout": SECONDS} if url.get_backend_name() in ("postgresql", "mysql") else {}
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, connect_args=seconds)
    try:
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
    except Exception as error:  # SQLAlchemy's own, or whatever a driver raises
        how = _PASSWORDS.get(url.get_backend_name())
        remedy = f"; a password is given {how}, never in the address" if how else ""
        raise InputError(
            f"tracking.uri is {redacted(uri)}, which cannot be opened ({_reason(error)}){remedy}."
        ) from error
    finally:
        engine.dispose()
    if revision is None:
        return False
    _check_revision(uri, revision)
    return True


def _check_driver(url: Any) -> None:
    import sqlalchemy

    try:
        url.get_dialect().import_dbapi()
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        driver = getattr(error, "name", None) or url.drivername
        package = PACKAGES.get(driver, driver)
        shown = redacted(url.render_as_string(hide_password=True))
        raise InputError(
            f"tracking.uri is {shown}, for which the package {driver} is missing: pip install {package}."
        ) from error


def _check_revision(uri: str, revision: str) -> None:
    """Refuse tables that are not this MLflow's: on older ones it stops, on newer ones it would have to guess."""
    import mlflow
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    script = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if revision == script.get_current_head():
        return
    try:
        script.get_revision(revision)
    except CommandError as error:
        raise InputError(
            f"tracking.uri is {redacted(uri)}, whose tables a newer MLflow than {mlflow.__version__} made: install "
            "that version, or give another tracking.uri."
        ) from error
    raise InputError(
        f"tracking.uri is {redacted(uri)}, whose tables an older MLflow made (schema {revision}): copy the database, "
        f"then bring it up to date with `mlflow db upgrade {redacted(uri)}`, or give another tracking.uri."
    )


def _reason(error: Exception) -> str:
    """What the driver said, without SQLAlchemy's pointer to its own manual."""
    return first_line(getattr(error, "orig", None) or error).rstrip(".")
