%% SPDX-License-Identifier: Apache-2.0
%% @doc What Cowboy's stream commands mean for the one response of an HTTP/1.1 connection that ends
%% with it: commands in, bytes to send and other effects out.
%% Pure; runs in the connection process, for `hornbeam_http1_chunked'.
-module(hornbeam_http1_commands).

-export([new/1, run/2, is_headless/1]).
-export_type([output/0, effect/0]).

-type effect() ::
    {send, iodata()}
    | {sendfile, file:name_all(), Offset :: non_neg_integer(), Bytes :: pos_integer()}
    %% The handler takes so many bytes more of the request body.
    | {flow, pos_integer()}
    | {log, tuple()}
    %% The exchange is over; a response that is not complete is broken off.
    | stop
    %% The handler gave the stream up, or asked for what cannot be.
    | {fail, cowboy_stream:reason()}.

-record(output, {
    %% Where the response is: before its head, within a body, behind it.
    phase = head :: head | chunked | {sized, Left :: non_neg_integer()} | done,
    %% A response to HEAD has none.
    has_body :: boolean(),
    %% The client takes trailers.
    trailers :: boolean()
}).

-opaque output() :: #output{}.

%% @doc Before the head of the response to this request.
-spec new(cowboy_req:req()) -> output().
new(#{method := Method, headers := Headers}) ->
    TE = maps:get(<<"te">>, Headers, <<>>),
    #output{has_body = Method =/= <<"HEAD">>, trailers = takes_trailers(TE)}.

%% RFC 9110 10.1.4: a list of names, some with parameters.
takes_trailers(TE) ->
    Codings = binary:split(cowboy_bstr:to_lower(TE), <<",">>, [global]),
    lists:any(fun(Coding) -> trim(Coding) =:= "trailers" end, Codings).

trim(Coding) -> string:trim(binary_to_list(Coding), both, " \t").

%% @doc No head has been sent: an error can still be answered.
-spec is_headless(output()) -> boolean().
is_headless(#output{phase = Phase}) -> Phase =:= head.

%% @doc One command of `cowboy_stream:commands()'. Responses get `connection: close' whatever the
%% handler says; without `content-length' they are chunked, so that the client can tell the end
%% from a break. `set_options' has nothing to set: idle and keep-alive times mean nothing here.
-spec run(tuple() | stop, output()) -> {[effect()], output()}.
run({inform, Status, Headers}, #output{phase = head} = Output) ->
    {[{send, head(Status, Headers)}], Output};
run({error_response, Status, Headers, Body}, #output{phase = head} = Output) ->
    run({response, Status, Headers, Body}, Output);
run({error_response, _, _, _}, Output) ->
    {[], Output};
run({response, Status, Headers, Body}, #output{phase = head} = Output) ->
    Send = [{send, head(Status, closing(Headers))} | body(Status, Body, Output)],
    {join(Send), Output#output{phase = done}};
run({headers, Status, Headers}, #output{phase = head} = Output) ->
    headers(status_code(Status), Status, Headers, Output);
run({data, Fin, Data}, #output{phase = Phase} = Output) when Phase =/= head ->
    data(Fin, size_of(Data), Data, Output);
run({trailers, Trailers}, #output{phase = chunked, has_body = true} = Output) ->
    {[{send, last_chunk(Trailers, Output)}], Output#output{phase = done}};
run({trailers, _}, #output{phase = Phase} = Output) when Phase =/= head ->
    {[], Output};
run({flow, Bytes}, Output) ->
    {[{flow, Bytes}], Output};
run({set_options, _}, Output) ->
    {[], Output};
%% HTTP/1.1 cannot push.
run({push, _, _, _, _, _, _, _}, Output) ->
    {[], Output};
run({log, _, _, _} = Log, Output) ->
    {[Log], Output};
run({internal_error, _, _} = Reason, Output) ->
    {[{fail, Reason}], Output};
run(stop, Output) ->
    {[stop], Output};
run(Command, Output) ->
    {[{fail, {internal_error, {bad_command, element(1, Command)},
        'The stream handler gave a command that is not possible here.'}}], Output}.

headers(Code, Status, Headers, Output) when Code =:= 204; Code =:= 304 ->
    {[{send, head(Status, closing(Headers))}], Output#output{phase = done}};
headers(_, Status, #{<<"content-length">> := Length} = Headers, Output) ->
    Left = binary_to_integer(iolist_to_binary(Length)),
    {[{send, head(Status, closing(Headers))}], Output#output{phase = {sized, Left}}};
headers(_, Status, Headers, Output) ->
    Chunked = Headers#{<<"transfer-encoding">> => <<"chunked">>},
    {[{send, head(Status, closing(announced(Chunked, Output)))}], Output#output{phase = chunked}}.

%% No announcement of trailers that will not be sent.
announced(Headers, #output{trailers = true}) -> Headers;
announced(Headers, #output{trailers = false}) -> maps:remove(<<"trailer">>, Headers).

closing(Headers) -> Headers#{<<"connection">> => <<"close">>}.

head(Status, Headers) ->
    Cookies = [{<<"set-cookie">>, Cookie} || Cookie <- maps:get(<<"set-cookie">>, Headers, [])],
    Others = maps:to_list(maps:remove(<<"set-cookie">>, Headers)),
    cow_http:response(Status, 'HTTP/1.1', Others ++ Cookies).

status_code(Status) when is_integer(Status) -> Status;
status_code(<<Code:3/binary, _/binary>>) -> binary_to_integer(Code).

body(Status, Body, #output{has_body = HasBody}) ->
    Code = status_code(Status),
    case {size_of(Body), Body} of
        {Size, _} when Size =:= 0; not HasBody; Code =:= 204; Code =:= 304 -> [];
        {_, {sendfile, Offset, Bytes, Path}} -> [{sendfile, Path, Offset, Bytes}];
        _ -> [{send, Body}]
    end.

size_of({sendfile, _, Bytes, _}) -> Bytes;
size_of(Data) -> iolist_size(Data).

data(Fin, _, _, #output{has_body = false} = Output) ->
    {[], over(Fin, Output)};
data(_, _, _, #output{phase = done} = Output) ->
    {[], Output};
data(fin, 0, _, #output{phase = chunked} = Output) ->
    {[{send, <<"0\r\n\r\n">>}], over(fin, Output)};
data(Fin, 0, _, Output) ->
    {[], over(Fin, Output)};
data(Fin, Size, Data, #output{phase = chunked} = Output) ->
    Start = {send, [integer_to_binary(Size, 16), <<"\r\n">>]},
    {join([Start, piece(Data), {send, chunk_end(Fin)}]), over(Fin, Output)};
data(Fin, Size, Data, #output{phase = {sized, Left}} = Output) when Size =< Left ->
    {[piece(Data)], over(Fin, Output#output{phase = {sized, Left - Size}})};
data(_, _, _, Output) ->
    {[{fail, {internal_error, response_body_too_large,
        'The response body is longer than its content-length.'}}], Output}.

over(fin, #output{phase = {sized, Left}, has_body = true} = Output) when Left > 0 -> Output;
over(fin, Output) -> Output#output{phase = done};
over(nofin, Output) -> Output.

piece({sendfile, Offset, Bytes, Path}) -> {sendfile, Path, Offset, Bytes};
piece(Data) -> {send, Data}.

chunk_end(fin) -> <<"\r\n0\r\n\r\n">>;
chunk_end(nofin) -> <<"\r\n">>.

last_chunk(Trailers, #output{trailers = true}) ->
    [<<"0\r\n">>, cow_http:headers(maps:to_list(Trailers)), <<"\r\n">>];
last_chunk(_, #output{trailers = false}) ->
    <<"0\r\n\r\n">>.

%% One write for what goes out together.
join([{send, A}, {send, B} | Rest]) -> join([{send, [A, B]} | Rest]);
join([Effect | Rest]) -> [Effect | join(Rest)];
join([]) -> [].
