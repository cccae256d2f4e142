"""What the objects of the Python interface show of themselves: what they are, in a line, and never a secret."""

from __future__ import annotations

import pytest

from adapters.artifacts.loaded import LoadedArtifact
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.bank.router import Router
from adapters.serving.http.client import Client, ClientError

SECRET = "s3cret"


def test_a_bank_shows_its_base_its_adapters_and_its_device(served_bank: AdapterBank) -> None:
    assert repr(served_bank) == "AdapterBank(tiny-bert, 3 adapters: mood, ner, topic; cpu, float32)"


def test_a_bank_without_adapters_says_so_and_one_with_many_names_some(served_bank: AdapterBank) -> None:
    bank = AdapterBank(str(served_bank.base.folder))
    assert repr(bank) == "AdapterBank(tiny-bert, no adapters; cpu, float32)"
    for number in range(12):
        bank.load(f"a{number}", served_bank.info("mood")["folder"])
    assert repr(bank) == (
        "AdapterBank(tiny-bert, 12 adapters: a0, a1, a10, a11, a2, a3, a4, a5, a6, a7, …; cpu, float32)"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://example.org/models/", "https://example.org/models"),
        (f"https://ada:{SECRET}@example.org:444/models?token={SECRET}", "https://example.org:444/models"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_client_shows_its_address_and_no_secret(url: str, shown: str) -> None:
    client = Client(url, token=SECRET)
    assert repr(client) == f"Client('{shown}', with a token)"
    assert repr(Client(url)) == f"Client('{shown}')"


def test_no_error_of_a_client_shows_a_password() -> None:
    for url, said in (
        (f"http://ada:{SECRET}@127.0.0.1:9", "^http://127.0.0.1:9: cannot be reached"),
        (f"ftp://ada:{SECRET}@127.0.0.1?{SECRET}", "^ftp://127.0.0.1: not the address of a server"),
    ):
        with pytest.raises(ClientError, match=said) as error:
            Client(url, token=SECRET, retries=0).adapters()
        assert SECRET not in str(error.value)


def test_a_router_shows_its_kind_and_its_adapters(served_bank: AdapterBank) -> None:
    router = Router.fit("means", {"ner": ["Ada"], "mood": ["good", "bad"]}, embed=served_bank.embed)
    assert repr(router) == "Router(means for 2 adapters: mood, ner; routes every text)"
    router.set_threshold({"ner": ["Alan", "Ada"]}, rate=0.05)
    assert repr(router) == "Router(means for 2 adapters: mood, ner; refuses 5 % of dev texts)"
    assert repr(Router("classifier")) == "Router(classifier without adapters; routes every text)"


def test_an_artifact_shows_its_method_task_and_base(served_bank: AdapterBank) -> None:
    found = LoadedArtifact(served_bank.card("ner"), served_bank.task("ner"), served_bank.predictor("ner"))
    assert repr(found) == "LoadedArtifact(lora for ner on tiny-bert)"
