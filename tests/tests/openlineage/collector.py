"""Reads events of lineage into the classes of the official client, which its project generates from the published
JSON schema, and demands that nothing is missing, unknown or of another type. Writes one line an event: `ok`, or what is
wrong with it."""

import json
import sys

import attr
from openlineage.client.generated import base, dataset_version_dataset, documentation_dataset, ownership_dataset

FACETS = {
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
    "documentation": documentation_dataset.DocumentationDatasetFacet,
    "ownership": ownership_dataset.OwnershipDatasetFacet,
}


def text(value):
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def made(kind, fields, **read):
    """An object of a class, from exactly the fields that it has."""
    known = {field.name.lstrip("_") for field in attr.fields(kind)}
    unknown = fields.keys() - known
    if unknown:
        raise ValueError(f"{kind.__name__} has no {sorted(unknown)}")
    return kind(**{name: read.get(name, text)(value) for name, value in fields.items()})


def facet(name, fields):
    fields = dict(fields)
    kind = FACETS[name]
    if fields.pop("_schemaURL") != kind._get_schema():
        raise ValueError(f"the facet {name} is not of the schema {kind._get_schema()}")
    fields["producer"] = fields.pop("_producer")
    owners = lambda owners: [made(ownership_dataset.Owner, owner) for owner in owners]
    return made(kind, fields, owners=owners)


def dataset(kind):
    facets = lambda facets: {name: facet(name, fields) for name, fields in facets.items()}
    return lambda datasets: [made(kind, fields, facets=facets) for fields in datasets]


def event(fields):
    fields = dict(fields)
    if fields.pop("schemaURL") != base.RunEvent._get_schema():
        raise ValueError("not of the schema " + base.RunEvent._get_schema())
    return made(
        base.RunEvent,
        fields,
        eventType=base.EventType,
        run=lambda run: made(base.Run, run),
        job=lambda job: made(base.Job, job),
        inputs=dataset(base.InputDataset),
        outputs=dataset(base.OutputDataset),
    )


for line in sys.stdin:
    try:
        event(json.loads(line))
        print("ok")
    except (KeyError, TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}")
