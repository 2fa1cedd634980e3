"""What the old shop sells: 8 shelves of 5 products, with SKU, price in pounds, and units in stock."""

SHELVES = {
    "Kitchen": [
        ("KIT-1001", "Cast iron casserole, 4.2 litres", "64.00", 40),
        ("KIT-1002", "Chef's knife, 20 cm, walnut handle", "49.50", 60),
        ("KIT-1003", "Pour-over coffee stand with two filters", "32.00", 85),
        ("KIT-1004", "Bread proving basket, rattan, oval", "14.90", 120),
        ("KIT-1005", "Granite pestle and mortar", "27.00", 55),
    ],
    "Outdoors": [
        ("OUT-2001", "Two-person tunnel tent, 2.1 kg", "219.00", 24),
        ("OUT-2002", "Down sleeping bag, comfort 2 degrees", "164.00", 30),
        ("OUT-2003", "Enamel mug, speckled blue", "8.50", 300),
        ("OUT-2004", "Head torch, 400 lumens, rechargeable", "38.00", 90),
        ("OUT-2005", "Roll-top dry bag, 20 litres", "18.90", 140),
    ],
    "Books": [
        ("BOK-3001", "The Patient Gardener: a year in a small plot", "18.99", 75),
        ("BOK-3002", "Bridges of the North: a walker's atlas", "24.00", 45),
        ("BOK-3003", "Soups for Thirty People", "16.50", 60),
        ("BOK-3004", "A Field Guide to Lichens", "21.00", 35),
        ("BOK-3005", "How to Mend Almost Everything", "14.99", 110),
    ],
    "Music": [
        ("MUS-4001", "Concert ukulele, mahogany", "89.00", 28),
        ("MUS-4002", "Turntable, belt drive, matt black", "249.00", 18),
        ("MUS-4003", "Closed-back studio headphones", "129.00", 42),
        ("MUS-4004", "Clip-on tuner with display", "12.50", 200),
        ("MUS-4005", "Folding music stand", "22.00", 66),
    ],
    "Home": [
        ("HOM-5001", "Linen duvet cover, double, oat", "119.00", 50),
        ("HOM-5002", "Merino throw, 130 by 180 cm", "79.00", 48),
        ("HOM-5003", "Brass reading lamp with dimmer", "95.00", 32),
        ("HOM-5004", "Stoneware vase, tall, celadon", "36.00", 58),
        ("HOM-5005", "Beeswax candles, set of six", "15.00", 180),
    ],
    "Bicycle": [
        ("BIC-6001", "Leather saddle, touring", "98.00", 36),
        ("BIC-6002", "Floor pump with gauge", "34.00", 70),
        ("BIC-6003", "Rear pannier, waterproof, 23 litres", "62.00", 54),
        ("BIC-6004", "Front light, dynamo, 60 lux", "74.00", 40),
        ("BIC-6005", "Multi-tool, nineteen functions", "26.00", 130),
    ],
    "Garden": [
        ("GAR-7001", "Border spade, ash handle", "44.00", 38),
        ("GAR-7002", "Copper watering can, 5 litres", "58.00", 26),
        ("GAR-7003", "Secateurs, bypass, left-handed", "31.00", 64),
        ("GAR-7004", "Seed box: twelve old varieties", "19.00", 150),
        ("GAR-7005", "Bee hotel, untreated larch", "28.50", 72),
    ],
    "Limited": [
        ("LTD-8001", "Film camera, refurbished, with 50 mm lens", "189.00", 5),
        ("LTD-8002", "Signed print: Harbour at Five", "120.00", 5),
        ("LTD-8003", "Wristwatch, hand-wound, edition of fifty", "345.00", 5),
        ("LTD-8004", "Fountain pen, ebonite, green", "142.00", 5),
        ("LTD-8005", "Box set: forty years of jazz, on vinyl", "99.00", 5),
    ],
}
COLOURS = {
    "Kitchen": "#b5533c",
    "Outdoors": "#3f6f5f",
    "Books": "#5b4b8a",
    "Music": "#a03a5b",
    "Home": "#8a6d3b",
    "Bicycle": "#2f6690",
    "Garden": "#4f7a28",
    "Limited": "#333a44",
}
