"""The answer to a request that is not fulfilled: a status, what happened, and what to do."""


class Refused(Exception):
    """A request that is answered with a page of words."""

    def __init__(self, status: int, text: str, advice: str = "") -> None:
        """Keep status, text and advice."""
        super().__init__(text)
        self.status, self.text, self.advice = status, text, advice
