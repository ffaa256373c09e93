from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make a key to sign invitations with: the private key in FILE (0600), and a set of its public key in FILE.pub, for
    `serve --invitation-keys`. Prints the key's id.

    To have several keys, or to put a new one in the place of an old one, put the keys of several such sets into one.

    Exit status: 0 done, 1 a file is there already or can't be written, 2 usage.
    """
    from wg_orchestrator.cli.failure import fail  # They load what `--help` does not need.
    from wg_orchestrator.wire.signing import make_key

    try:
        click.echo(make_key(file))
    except OSError as error:
        fail(f"can't make a key in {file}: {error.strerror}", 1)
