"""The parameters of a template, from GraphQL's input to the values that are checked and sent."""

from __future__ import annotations

from typing import Any

import graphene
import pytest

from lib.graphql import BadInput
from templates_wa.graphql.parameters import TemplateParametersInput, parameters_of
from templates_wa.parameters import read


class Probe(graphene.ObjectType):
    """A door that hands out what came in."""

    seen = graphene.Boolean(given=TemplateParametersInput())

    @staticmethod
    def resolve_seen(root: list[Any], info: object, given: Any = None) -> bool:
        root.append(parameters_of(given))
        return True


def taken(given: str) -> Any:
    root: list[Any] = []
    result = graphene.Schema(query=Probe).execute(f"{{ seen(given: {given}) }}", root)
    if result.errors:
        raise result.errors[0].original_error or result.errors[0]
    return root[0]


def test_it_reads_every_kind_of_value() -> None:
    given = """{
        params: ["Ada"] offerExpiresAt: "2030-01-01T00:00:00"
        header: {media: {kind: "image", link: "https://example.com/a.png"}}
        buttons: [{index: 1, value: "t", flowData: {a: [1, "x", null]}},
                  {index: 2, value: "p", sections: [{title: "T", productRetailerIds: ["p"]}]}]
        cards: [{namedParams: [{name: "n", value: "$1", amount: {
                    currencyCode: "USD", amount1000: 3000000000}}],
                 header: {location: {latitude: 1.5, longitude: 2}}},
                {header: {product: {productRetailerId: "p", catalogId: "1"}}}]
    }"""

    assert taken(given) == read(
        {
            "positional": ["Ada"],
            "offer_expires_at": "2030-01-01T00:00:00Z",
            "header": {"media": {"kind": "image", "link": "https://example.com/a.png"}},
            "buttons": [
                {"index": 1, "value": "t", "flow_data": {"a": [1, "x", None]}},
                {
                    "index": 2,
                    "value": "p",
                    "sections": [{"title": "T", "product_retailer_ids": ["p"]}],
                },
            ],
            "cards": [
                {
                    "named": {
                        "n": {"fallback_value": "$1", "code": "USD", "amount_1000": 3000000000}
                    },
                    "header": {"location": {"latitude": 1.5, "longitude": 2}},
                },
                {"header": {"product": {"product_retailer_id": "p", "catalog_id": "1"}}},
            ],
        }
    )


@pytest.mark.parametrize(
    "given",
    [
        '{namedParams: [{name: "a", value: "1"}, {name: "a", value: "2"}]}',
        '{buttons: [{index: 0, flowData: "text"}]}',
    ],
)
def test_it_refuses_what_it_cannot_mean(given: str) -> None:
    with pytest.raises(BadInput):
        taken(given)


def test_it_takes_nothing_for_no_parameters() -> None:
    assert parameters_of(None) == read(None) == taken("{}")
