"""``python -m gateway``: the command line."""

from gateway.cli import app

if __name__ == "__main__":
    app(prog_name="dicom-gateway")
