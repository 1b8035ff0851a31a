"""What is in a folder of an S3 bucket, page by page.

The walk of s3fs keeps a tree of folders and compares each one with all beside it, so that its time grows with the square of their number.
"""

from collections.abc import Iterator

import fsspec


def list_objects(files: "fsspec.AbstractFileSystem", folder: str) -> Iterator[tuple[str, str]]:
    """Every file below bucket/folder, by its whole name, with the tag that changes when its content does.

    Raises FileNotFoundError where there is no such bucket.
    """
    bucket, prefix, _ = files.split_path(folder)
    asked: dict[str, object] = {"Bucket": bucket, "Prefix": f"{prefix}/", **files.req_kw}
    while True:
        page = files.call_s3("list_objects_v2", **asked)
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # consoles make such files to show an empty folder
                yield (
                    f"{bucket}/{entry['Key']}",
                    entry.get("ETag") or f"{entry.get('LastModified')} {entry.get('Size')}",
                )
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]
