"""Uploaded files: their bytes on disk and what Slack says about them."""

import mimetypes
import secrets
from pathlib import Path
from urllib.parse import quote

from sandbox.slack.grants import Clock
from sandbox.slack.people import BOT_USER_ID, TEAM_ID
from sandbox.slack.shapes import Json, MethodError

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif"})  # what an image block may show


class Files:
    """Files of the workspace. `document` (id -> entry) is kept by the workspace over restarts, bytes in `folder`."""

    def __init__(self, document: dict[str, Json], folder: Path, clock: Clock) -> None:
        self._document = document
        self._folder = folder
        self._clock = clock

    def announce(self, name: str, length: int, alt_text: str | None) -> tuple[str, str]:
        """Make room for a file that will be uploaded. Returns its id and the token of its upload address."""
        file_id = "F0" + secrets.token_hex(4).upper()
        mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
        file: Json = {
            "id": file_id,
            "created": int(self._clock()),
            "timestamp": int(self._clock()),
            "name": name,
            "title": name,
            "mimetype": mimetype,
            "filetype": Path(name).suffix.lstrip(".") or "binary",
            "user": BOT_USER_ID,
            "user_team": TEAM_ID,
            "size": length,
            "mode": "hosted",
            "is_external": False,
            "is_public": False,
            "channels": [],
        }
        if alt_text:
            file["alt_txt"] = alt_text
        token = secrets.token_hex(12)
        self._document[file_id] = {"file": file, "token": token, "uploaded": False, "complete": False}
        return file_id, token

    def receive(self, token: str, content: bytes) -> int:
        """Store the bytes sent to an upload address; answers their number.

        Raises MethodError: not_found, and length_mismatch when the announced length was another.
        """
        entry = next((entry for entry in self._document.values() if entry["token"] == token), None)
        if entry is None or entry["uploaded"]:
            raise MethodError("not_found")
        if len(content) != entry["file"]["size"]:
            raise MethodError("length_mismatch")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / entry["file"]["id"]).write_bytes(content)
        entry["uploaded"] = True
        return len(content)

    def complete(self, file_id: str, title: str | None, base_url: str) -> Json:
        """Make an uploaded file visible. Raises MethodError file_not_found."""
        entry = self._document.get(file_id)
        if entry is None or not entry["uploaded"] or entry["complete"]:
            raise MethodError("file_not_found")
        file: Json = entry["file"]
        file["title"] = title or file["name"]
        url = f"{base_url}files-pri/{TEAM_ID}-{file_id}/{quote(file['name'])}"
        file |= {"url_private": url, "url_private_download": url, "permalink": url}
        entry["complete"] = True
        return file

    def get(self, file_id: str) -> Json:
        """The file object. Raises MethodError file_not_found."""
        entry = self._document.get(file_id)
        if entry is None or not entry["complete"]:
            raise MethodError("file_not_found")
        file: Json = entry["file"]
        return file

    def content(self, file_id: str) -> bytes:
        """The bytes of a file. Raises MethodError file_not_found."""
        self.get(file_id)
        return (self._folder / file_id).read_bytes()

    def can_be_shown(self, file_id: str) -> bool:
        """Whether an image block may show the file."""
        entry = self._document.get(file_id)
        return entry is not None and entry["complete"] and entry["file"]["mimetype"] in IMAGE_TYPES
