"""The reference: the cheapest response that FastAPI can give on the same server."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/bare")
async def bare() -> dict[str, str]:
    return {"status": "healthy"}
