"""`wardline init`: a new site that works as it is."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--organization", default="My Hospital", show_default=True, help="Whose engine it is, for conf/engine.yaml.")
def command(directory: Path, organization: str) -> None:
    """Make a new site in DIRECTORY: one channel with its mapping, its tests and a sample message.

    The directory is made where it is missing; one that holds anything is refused.
    """
    from engine.cli.starter import FILES

    try:
        if directory.exists() and any(directory.iterdir()):
            raise click.UsageError(f"{directory} is not empty. Name a new directory, so that nothing is overwritten.")
        for name, content in FILES.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content.format(organization=_quoted(organization)) if name == "conf/engine.yaml" else content
            path.write_bytes(text.encode())
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}.") from None
    click.echo(f"A new site in {directory}:")
    for name in FILES:
        click.echo(f"  {name}")
    click.echo(f"\nNext: wardline check --site {directory} && wardline test --site {directory}")


def _quoted(text: str) -> str:
    """As a YAML scalar in double quotes: whatever the name holds stays text."""
    import json

    return json.dumps(text, ensure_ascii=False)
