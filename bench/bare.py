"""The reference: the least that an answer of FastAPI costs, on the same server."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/bare")
async def bare() -> dict[str, str]:
    return {"status": "healthy"}
