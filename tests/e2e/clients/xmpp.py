"""Logs in to an XMPP server and sends a message to itself.

usage: xmpp.py HOST PORT JID PASSWORD TEXT [hold-seconds]; prints the text received.
"""
import asyncio
import sys

import slixmpp


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password, text):
        super().__init__(jid, password)
        self.text = text
        self.received = asyncio.get_event_loop().create_future()
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("message", self.heard)
        self.add_event_handler("failed_auth", lambda _: self.received.set_exception(SystemExit("refused")))
        self.enable_direct_tls = False
        self.enable_plaintext = True
        self.enable_starttls = False
        self.plugin["feature_mechanisms"].unencrypted_plain = True
        self.plugin["feature_mechanisms"].unencrypted_scram = True

    async def started(self, _):
        self.send_presence()
        await self.get_roster()
        self.send_message(mto=self.boundjid.full, mbody=self.text)

    def heard(self, message):
        if not self.received.done():
            self.received.set_result(message["body"])


async def main():
    host, port, jid, password, text = sys.argv[1:6]
    client = Client(jid, password, text)
    client.connect(host, int(port))
    print(await asyncio.wait_for(client.received, 20), flush=True)
    await asyncio.sleep(float(sys.argv[6]) if len(sys.argv) > 6 else 0)
    await client.disconnect()


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
