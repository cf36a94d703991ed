"""Lookup tables: countries, US states, Canadian provinces, words for gender. Data only.

Every name is written as it looks after cleaning: lower case, composed (NFC), and without anything but letters and
combining marks, so `Côte d'Ivoire` is `côtedivoire`. In the texts below an entry is a code followed by its names, and
a bar or the end of the line ends an entry.

Source: ISO 3166-1 (alpha-2, alpha-3, English short names) and ISO 3166-2:US, ISO 3166-2:CA, state of 2026, with names in
everyday use; the words for gender are the plain ones of Meta's capi-param-builder-nodejs 1.3.2.
"""

import re
from typing import Final

__all__ = ["ALPHA2", "ALPHA3", "COUNTRY_NAMES", "GENDERS", "PROVINCES_CA", "STATES_US"]


def _by_name(text: str) -> dict[str, str]:
    """Read entries of a code and its names as name to code."""
    table = {}
    for entry in re.split(r"[|\n]", text.strip()):
        code, *names = entry.split()
        table.update(dict.fromkeys(names, code))
    return table


STATES_US: Final[dict[str, str]] = _by_name("""
ak alaska | al alabama | ar arkansas | as americansamoa | az arizona | ca california | co colorado
ct connecticut | dc districtofcolumbia washingtondc | de delaware | fl florida | ga georgia | gu guam | hi hawaii
ia iowa | id idaho | il illinois | in indiana | ks kansas | ky kentucky | la louisiana | ma massachusetts
md maryland | me maine | mi michigan | mn minnesota | mo missouri | mp northernmarianaislands | ms mississippi
mt montana | nc northcarolina | nd northdakota | ne nebraska | nh newhampshire | nj newjersey | nm newmexico
nv nevada | ny newyork | oh ohio | ok oklahoma | or oregon | pa pennsylvania | pr puertorico | ri rhodeisland
sc southcarolina | sd southdakota | tn tennessee | tx texas | ut utah | va virginia | vi virginislands
vt vermont | wa washington | wi wisconsin | wv westvirginia | wy wyoming
""")
"""Name of a US state, district or territory to its two letters."""

PROVINCES_CA: Final[dict[str, str]] = _by_name("""
ab alberta | bc britishcolumbia | mb manitoba | nb newbrunswick
nl newfoundlandandlabrador newfoundlandlabrador newfoundland | ns novascotia | nt northwestterritories
nu nunavut | on ontario | pe princeedwardisland | qc quebec québec | sk saskatchewan | yt yukon
""")
"""Name of a Canadian province or territory to its two letters."""

ALPHA3: Final[dict[str, str]] = {
    pair[3:]: pair[:2]
    for pair in """
ad:and ae:are af:afg ag:atg ai:aia al:alb am:arm ao:ago aq:ata ar:arg as:asm at:aut au:aus aw:abw ax:ala az:aze
ba:bih bb:brb bd:bgd be:bel bf:bfa bg:bgr bh:bhr bi:bdi bj:ben bl:blm bm:bmu bn:brn bo:bol bq:bes br:bra bs:bhs
bt:btn bv:bvt bw:bwa by:blr bz:blz ca:can cc:cck cd:cod cf:caf cg:cog ch:che ci:civ ck:cok cl:chl cm:cmr cn:chn
co:col cr:cri cu:cub cv:cpv cw:cuw cx:cxr cy:cyp cz:cze de:deu dj:dji dk:dnk dm:dma do:dom dz:dza ec:ecu ee:est
eg:egy eh:esh er:eri es:esp et:eth fi:fin fj:fji fk:flk fm:fsm fo:fro fr:fra ga:gab gb:gbr gd:grd ge:geo gf:guf
gg:ggy gh:gha gi:gib gl:grl gm:gmb gn:gin gp:glp gq:gnq gr:grc gs:sgs gt:gtm gu:gum gw:gnb gy:guy hk:hkg hm:hmd
hn:hnd hr:hrv ht:hti hu:hun id:idn ie:irl il:isr im:imn in:ind io:iot iq:irq ir:irn is:isl it:ita je:jey jm:jam
jo:jor jp:jpn ke:ken kg:kgz kh:khm ki:kir km:com kn:kna kp:prk kr:kor kw:kwt ky:cym kz:kaz la:lao lb:lbn lc:lca
li:lie lk:lka lr:lbr ls:lso lt:ltu lu:lux lv:lva ly:lby ma:mar mc:mco md:mda me:mne mf:maf mg:mdg mh:mhl mk:mkd
ml:mli mm:mmr mn:mng mo:mac mp:mnp mq:mtq mr:mrt ms:msr mt:mlt mu:mus mv:mdv mw:mwi mx:mex my:mys mz:moz na:nam
nc:ncl ne:ner nf:nfk ng:nga ni:nic nl:nld no:nor np:npl nr:nru nu:niu nz:nzl om:omn pa:pan pe:per pf:pyf pg:png
ph:phl pk:pak pl:pol pm:spm pn:pcn pr:pri ps:pse pt:prt pw:plw py:pry qa:qat re:reu ro:rou rs:srb ru:rus rw:rwa
sa:sau sb:slb sc:syc sd:sdn se:swe sg:sgp sh:shn si:svn sj:sjm sk:svk sl:sle sm:smr sn:sen so:som sr:sur ss:ssd
st:stp sv:slv sx:sxm sy:syr sz:swz tc:tca td:tcd tf:atf tg:tgo th:tha tj:tjk tk:tkl tl:tls tm:tkm tn:tun to:ton
tr:tur tt:tto tv:tuv tw:twn tz:tza ua:ukr ug:uga um:umi us:usa uy:ury uz:uzb va:vat vc:vct ve:ven vg:vgb vi:vir
vn:vnm vu:vut wf:wlf ws:wsm ye:yem yt:myt za:zaf zm:zmb zw:zwe
""".split()
}
"""ISO 3166-1 alpha-3 to alpha-2, one for every country."""

ALPHA2: Final = frozenset(ALPHA3.values())
"""The 249 alpha-2 codes of ISO 3166-1. `eu`, `uk` and the user-assigned codes are not among them."""

COUNTRY_NAMES: Final[dict[str, str]] = _by_name("""
ad andorra | ae unitedarabemirates | af afghanistan | ag antiguaandbarbuda | ai anguilla | al albania | am armenia
ao angola | aq antarctica | ar argentina | as americansamoa | at austria | au australia | aw aruba
ax ålandislands | az azerbaijan | ba bosniaandherzegovina | bb barbados | bd bangladesh | be belgium
bf burkinafaso | bg bulgaria | bh bahrain | bi burundi | bj benin | bl saintbarthélemy | bm bermuda
bn brunei bruneidarussalam | bo bolivia boliviaplurinationalstateof | bq bonairesinteustatiusandsaba | br brazil
bs bahamas | bt bhutan | bv bouvetisland | bw botswana | by belarus | bz belize | ca canada
cc cocoskeelingislands | cd congothedemocraticrepublicofthe | cf centralafricanrepublic | cg congo
ch switzerland | ci cotedivoire côtedivoire ivorycoast | ck cookislands | cl chile | cm cameroon | cn china
co colombia | cr costarica | cu cuba | cv caboverde capeverde | cw curacao curaçao | cx christmasisland
cy cyprus | cz czechia czechrepublic | de germany | dj djibouti | dk denmark | dm dominica | do dominicanrepublic
dz algeria | ec ecuador | ee estonia | eg egypt | eh westernsahara | er eritrea | es spain | et ethiopia
fi finland | fj fiji | fk falklandislandsmalvinas | fm micronesiafederatedstatesof | fo faroeislands | fr france
ga gabon | gb england greatbritain northernireland scotland unitedkingdom wales | gd grenada | ge georgia
gf frenchguiana | gg guernsey | gh ghana | gi gibraltar | gl greenland | gm gambia | gn guinea | gp guadeloupe
gq equatorialguinea | gr greece | gs southgeorgiaandthesouthsandwichislands | gt guatemala | gu guam
gw guineabissau | gy guyana | hk hongkong | hm heardislandandmcdonaldislands | hn honduras | hr croatia | ht haiti
hu hungary | id indonesia | ie ireland | il israel | im isleofman | in india | io britishindianoceanterritory
iq iraq | ir iran iranislamicrepublicof | is iceland | it italy | je jersey | jm jamaica | jo jordan | jp japan
ke kenya | kg kyrgyzstan | kh cambodia | ki kiribati | km comoros | kn saintkittsandnevis
kp koreademocraticpeoplesrepublicof northkorea | kr korearepublicof republicofkorea southkorea | kw kuwait
ky caymanislands | kz kazakhstan | la laopeoplesdemocraticrepublic laos | lb lebanon | lc saintlucia
li liechtenstein | lk srilanka | lr liberia | ls lesotho | lt lithuania | lu luxembourg | lv latvia | ly libya
ma morocco | mc monaco | md moldova moldovarepublicof | me montenegro | mf saintmartinfrenchpart | mg madagascar
mh marshallislands | mk macedonia northmacedonia | ml mali | mm myanmar | mn mongolia | mo macao
mp northernmarianaislands | mq martinique | mr mauritania | ms montserrat | mt malta | mu mauritius | mv maldives
mw malawi | mx mexico | my malaysia | mz mozambique | na namibia | nc newcaledonia | ne niger | nf norfolkisland
ng nigeria | ni nicaragua | nl holland netherlands thenetherlands | no norway | np nepal | nr nauru | nu niue
nz newzealand | om oman | pa panama | pe peru | pf frenchpolynesia | pg papuanewguinea | ph philippines
pk pakistan | pl poland | pm saintpierreandmiquelon | pn pitcairn | pr puertorico | ps palestine palestinestateof
pt portugal | pw palau | py paraguay | qa qatar | re reunion réunion | ro romania | rs serbia
ru russia russianfederation | rw rwanda | sa saudiarabia | sb solomonislands | sc seychelles | sd sudan
se sweden | sg singapore | sh sainthelenaascensionandtristandacunha | si slovenia | sj svalbardandjanmayen
sk slovakia | sl sierraleone | sm sanmarino | sn senegal | so somalia | sr suriname | ss southsudan
st saotomeandprincipe | sv elsalvador | sx sintmaartendutchpart | sy syria syrianarabrepublic
sz eswatini swaziland | tc turksandcaicosislands | td chad | tf frenchsouthernterritories | tg togo | th thailand
tj tajikistan | tk tokelau | tl easttimor timorleste | tm turkmenistan | tn tunisia | to tonga
tr turkey turkiye türkiye | tt trinidadandtobago | tv tuvalu | tw taiwan taiwanprovinceofchina
tz tanzania tanzaniaunitedrepublicof | ua ukraine | ug uganda | um unitedstatesminoroutlyingislands
us unitedstates unitedstatesofamerica | uy uruguay | uz uzbekistan | va holyseevaticancitystate vatican
vc saintvincentandthegrenadines | ve venezuela venezuelabolivarianrepublicof | vg virginislandsbritish
vi virginislandsus | vn vietnam | vu vanuatu | wf wallisandfutuna | ws samoa | ye yemen | yt mayotte
za southafrica | zm zambia | zw zimbabwe
""")
"""English name or common alias of a country to its alpha-2 code."""

GENDERS: Final[dict[str, str]] = {
    **dict.fromkeys("m male man boy mr mister he him his gentleman".split(), "m"),
    **dict.fromkeys("f female woman girl mrs ms miss she her hers lady madam".split(), "f"),
}
"""Word to `m` or `f`. Everything else is unknown: a guess would be sent as a fact about a person."""
