"""Ask the application for its pages and its static file."""

from shop import create_app

app = create_app()
client = app.test_client()
for address in ("/", "/parts/lid", "/static/shop.css", "/absent"):
    reply = client.get(address)
    print(address, reply.status_code, reply.get_data(as_text=True).strip().splitlines()[:1])
reply = app.test_cli_runner().invoke(args=["restock", "tea"])
print(reply.exit_code, reply.output.strip())
