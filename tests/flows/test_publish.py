"""The form of publishing in the Prefect interface: what can be chosen is offered as a choice."""

from prefect.utilities.callables import parameter_schema

from flows.publish import publish


def test_targets_are_choices_of_the_form() -> None:
    form = parameter_schema(publish).model_dump()["properties"]
    assert form["to"]["enum"] == ["hub", "s3", "folder"] and form["to"]["default"] == "hub"
    assert form["what"]["enum"] == ["model", "space"] and form["public"]["default"] is False
    assert all(field.get("description") for field in form.values())
