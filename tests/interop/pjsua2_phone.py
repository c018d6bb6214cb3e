"""A phone on PJSIP's own Python module, in a process of its own: commands come in as JSON lines, events go out so.

`tests/lib/pjsua2.py` starts it; by hand: PYTHONPATH=~/.cache/strowger-test-peers/pjsua2 python3 pjsua2_phone.py '{…}'.
"""

import json
import os
import select
import sys

import pjsua2 as pj

WORDS = json.loads(sys.argv[1])


def tell(event, **facts):
    print(json.dumps({"event": event, **facts}), flush=True)


class Phone(pj.Account):
    """One account; it takes every call at once, unless it is told to let it ring."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def onRegState(self, parameters):
        tell("registered" if self.getInfo().regIsActive else "unregistered", code=parameters.code)

    def onIncomingCall(self, parameters):
        call = Call(self, parameters.callId)
        self.calls.append(call)
        tell("incoming", call_id=call.getInfo().callIdString)
        call.respond(180)
        if not WORDS.get("rings"):
            call.respond(200)


class Call(pj.Call):
    """One call. Its audio is connected anew each time the media were negotiated."""

    def respond(self, status):
        parameters = pj.CallOpParam()
        parameters.statusCode = status
        self.answer(parameters)

    def onCallState(self, _):
        info = self.getInfo()
        tell("state", state=info.stateText, code=info.lastStatusCode, reason=info.lastReason)
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            phone.calls.remove(self)

    def onCallMediaState(self, _):
        info = self.getInfo()  # its media live no longer than itself
        for media in info.media:
            tell("media", status=media.status, direction=media.dir)
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                audio = self.getAudioMedia(media.index)
                player.startTransmit(audio)
                audio.startTransmit(recorder)

    def onDtmfDigit(self, parameters):
        tell("key", digit=parameters.digit)

    def onCallTsxState(self, parameters):
        body = parameters.e.body.tsxState
        if body.type == pj.PJSIP_EVENT_RX_MSG and body.src.rdata.wholeMsg:
            tell("message", text=body.src.rdata.wholeMsg)


def obey(command):
    """One command; `current` is the latest call."""
    what = command["do"]
    if what == "call":
        call = Call(phone)
        phone.calls.append(call)
        call.makeCall(command["uri"], pj.CallOpParam(True))
        return
    if what == "unregister":
        phone.setRegistration(False)
        return
    current = phone.calls[-1]
    if what == "answer":
        current.respond(command["status"])
    elif what == "hold":
        current.setHold(pj.CallOpParam(True))
    elif what == "resume":
        parameters = pj.CallOpParam(True)
        parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        current.reinvite(parameters)
    elif what == "update":
        current.update(pj.CallOpParam(True))
    elif what == "press":
        parameters = pj.CallSendDtmfParam()
        parameters.digits, parameters.duration, parameters.method = command["keys"], 120, pj.PJSUA_DTMF_METHOD_RFC2833
        current.sendDtmf(parameters)
    elif what == "hang_up":
        current.hangup(pj.CallOpParam(True))
    else:
        raise ValueError(f"no command {what!r}")


endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.uaConfig.threadCnt, config.uaConfig.mainThreadOnly = 0, True
config.medConfig.clockRate = config.medConfig.sndClockRate = 8000
config.medConfig.noVad = True
config.medConfig.ecTailLen = 0
config.logConfig.level, config.logConfig.consoleLevel, config.logConfig.filename = 5, 0, WORDS["log"]
endpoint.libInit(config)
endpoint.audDevManager().setNullDev()

transport = pj.TransportConfig()
transport.port, transport.boundAddress = WORDS["port"], "127.0.0.1"
if WORDS["transport"] == "TLS":
    transport.tlsConfig.CaListFile, transport.tlsConfig.verifyServer = WORDS["ca"], True
    transport.tlsConfig.method = pj.PJSIP_TLSV1_2_METHOD
endpoint.transportCreate(getattr(pj, f"PJSIP_TRANSPORT_{WORDS['transport']}"), transport)
endpoint.libStart()
for codec in endpoint.codecEnum2():
    endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith(WORDS["codec"]) else 0)

player, recorder = pj.AudioMediaPlayer(), pj.AudioMediaRecorder()
player.createPlayer(WORDS["tone"])
recorder.createRecorder(WORDS["heard"])

account = pj.AccountConfig()
account.idUri = f"sip:{WORDS['username']}@{WORDS['host']}"
account.regConfig.registrarUri = f"sip:{WORDS['host']}"
account.regConfig.timeoutSec = 120
account.sipConfig.proxies.append(WORDS["proxy"])
account.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", WORDS["username"], 0, WORDS["password"]))
account.callConfig.prackUse = getattr(pj, f"PJSUA_100REL_{WORDS['prack']}")
account.callConfig.timerUse = getattr(pj, f"PJSUA_SIP_TIMER_{WORDS['timer']}")
account.callConfig.timerMinSESec = account.callConfig.timerSessExpiresSec = 90
account.mediaConfig.srtpUse = getattr(pj, f"PJMEDIA_SRTP_{WORDS['srtp']}")
account.mediaConfig.srtpSecureSignaling = 0
account.natConfig.iceEnabled = WORDS["ice"]
if not WORDS["ice"]:  # loopback is no candidate
    account.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
account.mediaConfig.transportConfig.port = WORDS["rtp_port"]
phone = Phone()
phone.create(account)
tell("ready", version=endpoint.libVersion().full)

open_for_commands = True
while open_for_commands:
    endpoint.libHandleEvents(5)
    while select.select([sys.stdin], [], [], 0)[0]:
        line = sys.stdin.readline()
        if not line:
            open_for_commands = False
            break
        try:
            obey(json.loads(line))
        except Exception as error:  # whatever it is, the test has to see it
            tell("error", text=f"{line.strip()}: {error}")
phone.setRegistration(False)
phone.shutdown()
del player, recorder
endpoint.libDestroy()
# Python would take apart what is left in an order that PJSIP does not like.
sys.stdout.flush()
os._exit(0)
