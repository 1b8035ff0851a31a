"""Brings a cluster's database up to date, with the block types that Prefect's interface offers: `python -m deployments.prefect.tables`.

Prefect's servers would each do it when they start; two at the same moment on a fresh database get into each other's way, and one ends.
"""

import asyncio


async def _bring_up_to_date() -> None:
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    database = provide_database_interface()
    await database.create_db()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)


if __name__ == "__main__":
    asyncio.run(_bring_up_to_date())
