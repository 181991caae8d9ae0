"""The prompts of the two tasks, in the words of the deck (slides of Team 18, Inter IIT Tech Meet 12.0)."""

CONTENT = (
    "You are content creating wizard. Today I challenge you to predict a caption for an post that was posted in "
    "the past. I'll provide you with the following information regarding the post:\n"
    "Username, Date of post release, Time of post release and No of likes\n"
    "Review the username and date as there could be some insights relevant for the caption. Identify the "
    "material/person/objects in the image and align the caption accordingly. This will help to predict a better "
    "caption.\nNow given the image,\n"
    "{{Username is {username}.,}} {{Release Date is {date},}} {{Release Time is {time},}} "
    "{{Likes received is {likes}.}}\nPredicted Caption: [MASK]"
)
BEHAVIOUR = (
    "You are content creating wizard. Today I challenge you to predict a the number of likes for a post that was "
    "posted in the past. I'll provide you with the following information regarding the post:\n"
    "Username Date of post release Time of post release Caption\n"
    "Review the username and date as there could be some insights relevant for the number of likes. Identify the "
    "material/person/objects in the image and obtain the number of likes. This will help to predict the number of "
    "likes.\nNow given the image,\n"
    "{{Username is {username}.,}} {{Release Date is {date},}} {{Release Time is {time},}} "
    "{{Caption is {caption}.}}\nPredicted Number of likes : [MASK]"
)
