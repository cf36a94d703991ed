from typing import TypedDict

class Row(TypedDict):
    pattern: str

CRAWLER_USER_AGENTS_DATA: list[Row]
